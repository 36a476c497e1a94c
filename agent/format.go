package agent

import (
	"errors"
)

// FolderFormat is the format of the folders that this version writes, and the latest
// that it reads. Whatever in a folder, its lanes included, an older version could not
// read raises it: so one number in one small file, agent.json, says who may open the
// folder, and a package asks it before it replaces a newer program.
const FolderFormat = 1 + later

// ErrNewer means that a later version has written the folder. Nothing in it is
// touched.
var ErrNewer = errors.New("a later version has written it")
