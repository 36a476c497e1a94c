// Package lossy is a disk with a volatile cache, seen through a file system: what
// was written and not synced may be gone after a power cut, or may not.
//
//	a process ---- FUSE ----> Disk ---- sync ----> what the disk holds
//	 (another one:              |                         |
//	  see Mount)                | cut: every operation    | Image: and of the rest
//	                            v ends in EIO             v some, at random
//	                        nothing more arrives      a new Disk, all of it synced
//
// A [Disk] lives in memory. [Mount] shows it to other processes; [Disk.Arm] sets a
// trap at the n-th write, sync, rename and so on; when it springs, the power is
// gone; [Disk.Image] is the disk that the machine finds when it comes back.
//
// # What a cut leaves
//
// Content is kept or lost in sectors of 512 bytes, each for itself: a sector that
// was written and not synced is on the disk or not, whatever was written before or
// after it; one that was written several times may hold an older of these
// versions, because the system writes back when it likes. A sector is never torn:
// disks promise that, and Fieldpost's checksums assume no more than that it is
// noticed. A file's length is lost apart from its content: a new length may be
// kept whose content is not (it reads as zeros), and the other way round. fsync,
// fdatasync and a write through O_DSYNC bring the whole file, with its length.
//
// Names (create, mkdir, rename, unlink) are kept or lost as whole operations: a
// rename is atomic, as every journaling file system has it. Which of them may be
// lost while later ones are kept is an [Order]:
//
//   - Journaled: one journal for all names, in order; what is left is a prefix of
//     all operations. An fsync of anything may bring all names before it, an fsync of
//     a folder always does. ext4 and XFS are like that.
//   - PerFolder: what is left is a prefix of each folder's operations; a rename
//     between two folders is in both or in neither. An fsync of a folder brings the
//     folder's names; whether an fsync brings the name of what is synced in the
//     folder above is [OwnName].
//   - Loose: operations that have neither a name nor a file in common are kept or
//     lost each for itself, as Pillai et al. found for btrfs ("All File Systems Are
//     Not Created Equal", OSDI 2014). An fsync is as in PerFolder. POSIX promises no
//     more than this.
//
// Not in the model: a sector that reads as garbage, a folder that is damaged, and
// file systems without a journal.
//
// # What it is not
//
// It is no file system to keep files in: no links, no owners, no times. A Disk's
// methods may be called concurrently. The process that mounts a Disk must not use
// the mount itself by package os or by mapping files: the poller, or a page fault,
// would wait for an answer of this process and keep it from giving one.
package lossy
