package finding

// What keeps the signed-in caller from writing to Azure, or azwi from knowing that.

// ActionNotGranted is an action of Resource Manager that no role of the caller has.
func ActionNotGranted() Finding {
	return found(CodeActionNotGranted, Subject{}, "none of the caller's roles at this scope includes the action")
}

// ApplicationNotWritable is an application of somebody else.
func ApplicationNotWritable() Finding {
	return found(CodeNotWritable, Subject{}, "the caller neither owns the application nor has a role that allows changing it")
}

// ApplicationNotCreatable is a tenant in which the caller creates no applications.
func ApplicationNotCreatable() Finding {
	return found(CodeNotCreatable, Subject{}, "the caller has no role that allows creating applications")
}

// PermissionsUnreadable is a scope that tells the caller nothing; the problem is Resource
// Manager's answer.
func PermissionsUnreadable(problem string) Finding {
	return found(CodePermissions, Subject{}, "the permissions can't be read: %s", problem)
}

// DirectoryUnreadable is a directory that tells the caller nothing; the problem is Graph's
// answer, or why it was not asked.
func DirectoryUnreadable(problem string) Finding {
	return found(CodeDirectory, Subject{}, "the directory can't be queried: %s", problem)
}

// DirectoryRoleUnknown is a custom role, or a new one.
func DirectoryRoleUnknown() Finding {
	return found(CodeDirectoryRole, Subject{}, "the caller has directory roles that azwi does not know")
}
