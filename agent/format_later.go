//go:build fieldpost_laterformat

package agent

// later is added to FolderFormat. A program that is built with this tag is what a
// later version would be: with it rigs/systemd sees that programs and packages of
// this one leave alone what they cannot read.
const later = 1
