// Package guard holds the tests that guard the shape of the tree: who imports
// whom, what an embedder of the agent pulls in, that every package tells what it
// is, and that a release can not be sabotaged. It has no code of its own.
//
// The rules are a table in imports_test.go. They hold for all operating systems
// at once, as the files are read and not built. A package that is not there is
// not checked.
package guard
