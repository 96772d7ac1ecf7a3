package finding

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// FileAdvice is one line that says what to do about an error of the file system; empty for
// other errors.
func FileAdvice(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "free some space, or write somewhere else"
	case errors.As(err, new(*fs.PathError)) && errors.Is(err, fs.ErrNotExist):
		return "check the path: a relative one starts at the current folder"
	case errors.As(err, new(*fs.PathError)) && errors.Is(err, fs.ErrPermission):
		return "check the permissions of the file and its folders (ls -l), or use another user"
	case errors.Is(err, syscall.EISDIR):
		return "name a file, not a folder"
	}
	return ""
}

// AssertionFileAdvice is what to do about a file without a service account token.
func AssertionFileAdvice() string {
	return "name a file that holds a service account token, with --token-file or $AZURE_FEDERATED_TOKEN_FILE; or give --service-account to request one"
}

// Syntax is a document that is not YAML or JSON; the problem is the parser's.
func Syntax(problem string) Finding {
	switch {
	case strings.Contains(problem, "UTF-"):
		return found(CodeSyntax, Subject{}, "not UTF-8 text: %s; save the file as UTF-8", problem)
	case strings.Contains(problem, "control characters"):
		return found(CodeSyntax, Subject{}, "not a text file: %s; name a YAML or JSON file", problem)
	}
	return found(CodeSyntax, Subject{}, "not valid YAML or JSON: %s; check indentation, brackets and quotes, here and above", problem)
}

// Template is a document with {{ in it.
func Template() Finding {
	return found(CodeSyntax, Subject{}, "this looks like a template, not YAML: render it first, for example with helm template")
}
