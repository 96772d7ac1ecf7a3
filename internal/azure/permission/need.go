package permission

// A Need is something that a command is about to do. Either Directory or Action
// is set.
type Need struct {
	// Directory is a write to the directory.
	Directory DirectoryWrite
	// Application is the object ID of the application that Directory writes to;
	// empty for CreateApplication, or if it could not be found out.
	Application string
	// Action is an action of Resource Manager, such as
	// Microsoft.ManagedIdentity/userAssignedIdentities/write.
	Action string
	// Scope is the resource ID that Action is about: a resource group, or
	// something in one.
	Scope string
}

// A DirectoryWrite is a kind of write to the directory.
type DirectoryWrite string

// The writes to the directory.
const (
	CreateApplication DirectoryWrite = "create applications"
	UpdateApplication DirectoryWrite = "update the application"
	DeleteApplication DirectoryWrite = "delete the application"
)
