// Package daemon is what the two commands have in common: how they start, end,
// log and say how it went.
//
//	Main(root) --signals--> ctx --> the command's RunE --error--> CodeOf --> exit code
//	                                      |
//	                                      +-- Logger --> stderr
//
// Exit codes are part of the interface; see [Code]. Errors go to stderr as one
// message that says what happened, to what, and what to do next; standard output
// has results only.
package daemon
