// Package sabotage switches single guarantees off, so that the tests which claim
// to prove a guarantee can be seen to fail without it. The switches exist only in
// binaries built with the tag fieldpost_sabotage; in every other binary they are
// constants, and a test checks that a release binary has none.
package sabotage
