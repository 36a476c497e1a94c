// Command dist makes what is released for Linux, into a folder:
//
//	source --go build--> programs, per architecture
//	                        |
//	   install/packages ----+--nfpm--> fieldpost-agent_V_ARCH.deb .rpm .apk, the collector's too
//	   (unit, scripts,      +--tar---> fieldpost_V_linux_ARCH.tar.gz, with install.sh
//	    configuration)      +--------> NAME_V_linux_ARCH.cdx.json, of what each program is made
//
// The unit, the completions and the format of the data are asked of the programs
// themselves, so they cannot differ from what these do. Nothing depends on the time,
// the folder, the machine or its environment: two runs on one commit give the same
// bytes. With -sums it writes SHA256SUMS of all that is in the folder.
package main
