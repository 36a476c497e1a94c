package doctor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fileSystems names them by the magic number of statfs(2).
var fileSystems = map[uint32]volume{
	0xEF53:     {kind: "ext4"}, // or ext2, ext3
	0x58465342: {kind: "xfs"},
	0x9123683E: {kind: "btrfs"},
	0x2FC12FC1: {kind: "zfs"},
	0xF2F52010: {kind: "f2fs"},
	0x24051905: {kind: "ubifs"},
	0x72B6:     {kind: "jffs2"},
	0x65735546: {kind: "fuse"},
	0xCA451A4E: {kind: "bcachefs"},
	0x01021994: {kind: "tmpfs", volatile: true},
	0x858458F6: {kind: "ramfs", volatile: true},
	0x794C7630: {kind: "overlay", layered: true},
	0x61756673: {kind: "aufs", layered: true},
	0x73717368: {kind: "squashfs", readOnly: true},
	0x6969:     {kind: "nfs", network: true},
	0xFF534D42: {kind: "cifs", network: true},
	0xFE534D42: {kind: "smb", network: true},
	0x517B:     {kind: "smb", network: true},
	0x01021997: {kind: "9p", network: true},
	0x00C36400: {kind: "ceph", network: true},
	0x5346414F: {kind: "afs", network: true},
	0x4D44:     {kind: "vfat", quirk: "a file system without a journal, which a power cut may damage", advice: "move the folder to ext4, xfs or another with a journal"},
	0x2011BAB0: {kind: "exfat", quirk: "a file system without a journal, which a power cut may damage", advice: "move the folder to ext4, xfs or another with a journal"},
}

// statVolume asks the system about the disk of a folder.
func statVolume(dir string) (volume, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return volume{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	v, ok := fileSystems[uint32(st.Type)]
	if !ok {
		v.kind = fmt.Sprintf("file system 0x%X", uint32(st.Type))
	}
	v.free, v.total = int64(st.Bavail)*int64(st.Bsize), int64(st.Blocks)*int64(st.Bsize)
	v.inodes, v.nodes = st.Ffree, st.Files
	v.readOnly = v.readOnly || st.Flags&unix.ST_RDONLY != 0
	return v, nil
}

// fdatasync is how the queue and the journal make their writes durable.
func fdatasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}
