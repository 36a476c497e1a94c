// Package wine runs the Windows programs under wine: as services, from the
// installer, on disks that lose power.
//
//	go test                            a prefix of wine's, made for the run
//	  bin/agent.exe  --copy---------->  C:\Program Files\Field Post ü\agent.exe
//	  link that cuts <--TCP-----------  agent, collector as services
//	  lossy.Disk     --FUSE, P:------>  an agent's folder
//	  wixl           --msiexec------->  the installer
//
// Go programs need one function that wine 8 has not; a DLL of a kilobyte that hands it
// on is written into the prefix.
//
// It needs wine64 (Debian: wine64), wixl and osslsigncode, and for the power cuts
// root and /dev/fuse. Where they are missing the tests are skipped by name, and fail
// under CI=true. What wine cannot show is in docs/WINDOWS.md.
package wine
