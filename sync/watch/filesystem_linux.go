package watch

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// unheard says why changes in root would not all be heard of, or "". Of a network
// file system the kernel reports only what this machine did. The numbers are of
// statfs(2) and linux/magic.h.
func unheard(root string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return ""
	}
	var name string
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC:
		name = "NFS"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		name = "SMB"
	case unix.FUSE_SUPER_MAGIC:
		name = "a FUSE file system (sshfs and the like, virtiofs)" // virtiofs has FUSE's number
	case unix.V9FS_MAGIC:
		name = "9p (a folder of another system)"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		name = "AFS"
	case unix.CEPH_SUPER_MAGIC:
		name = "Ceph"
	case unix.CODA_SUPER_MAGIC:
		name = "Coda"
	case unix.NCP_SUPER_MAGIC:
		name = "NCP"
	case unix.OCFS2_SUPER_MAGIC:
		name = "OCFS2"
	case 0x0bd00bd0:
		name = "Lustre"
	case 0x47504653:
		name = "GPFS"
	case 0xbacbacbc:
		name = "a folder that VMware shares"
	case 0x786f4256:
		name = "a folder that VirtualBox shares"
	case 0x013661366 & 0xffffffff:
		name = "GFS"
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%s is on %s, which does not report changes that other machines make, so the folder is looked at from time to time; on a local file system changes are seen at once", root, name)
}
