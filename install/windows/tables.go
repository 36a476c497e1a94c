package main

import (
	"fmt"
	"os/exec"
)

// What wixl cannot say is written into the installer's tables afterwards.

// Types of custom actions, as Windows Installer has them.
const (
	runInstalled = 18     // an installed file is run
	ignored      = 0x40   // whatever it answers
	rollback     = 0x100  // only when the installation is taken back
	inScript     = 0x400  // not while the installation is planned, but when it is done
	asSystem     = 0x800  // and not as who started it
	hidden       = 0x2000 // its command line is not logged: it has the token
	deferred     = runInstalled | inScript | asSystem
)

// sequence is when each action is done. The one before is removed first, in the same
// transaction: an installation that fails brings it back.
var sequence = map[string]int{
	"RemoveExistingProducts": 1501, // after InstallInitialize
	"SetID":                  1401,
	"SetCollector":           1402,
	"SetListen":              1403,
	"Unregister":             1950, // after StopServices, before RemoveFiles
	"Back":                   4001, // after InstallFiles
	"Register":               4002,
	"Enroll":                 4003,
	"Start":                  5901, // after StartServices
}

var types = map[string]int{
	"Back":   deferred | rollback | ignored,
	"Enroll": deferred | hidden,
}

// given are the properties that who installs may set.
const given = "AGENTID;COLLECTOR;TOKEN;LISTEN;START;WIX_UPGRADE_DETECTED;WIX_DOWNGRADE_DETECTED"

// finish completes an installer.
func finish(path string, p product, arch string) error {
	queries := []string{fmt.Sprintf("UPDATE `Property` SET `Value` = '%s' WHERE `Property` = 'SecureCustomProperties'", given)}
	for action, n := range sequence {
		queries = append(queries, fmt.Sprintf("UPDATE `InstallExecuteSequence` SET `Sequence` = %d WHERE `Action` = '%s'", n, action))
	}
	for action, n := range types {
		queries = append(queries, fmt.Sprintf("UPDATE `CustomAction` SET `Type` = %d WHERE `Action` = '%s'", n, action))
	}
	if p.name != "agent" { // a collector enrols nowhere and has no id
		for _, action := range []string{"SetID", "SetCollector", "Enroll"} {
			for _, table := range []string{"CustomAction", "InstallExecuteSequence"} {
				queries = append(queries, fmt.Sprintf("DELETE FROM `%s` WHERE `Action` = '%s'", table, action))
			}
		}
	} else {
		for _, table := range []string{"CustomAction", "InstallExecuteSequence"} {
			queries = append(queries, fmt.Sprintf("DELETE FROM `%s` WHERE `Action` = 'SetListen'", table))
		}
	}
	for _, q := range queries {
		if err := run(exec.Command("msibuild", path, "-q", q)); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	if arch == "arm64" { // wixl knows x64 alone; the tables are the same
		return run(exec.Command("msibuild", path, "-s", "Fieldpost "+p.name, "Fieldpost", "Arm64;1033"))
	}
	return nil
}
