#!/bin/sh
# Makes a system with OpenZFS, whose modules are compiled for Debian's kernel:
#
#	make.sh FOLDER MIRROR
#
# FOLDER gets root.img (ext4, without the compiler), kernel and initrd. The system
# has udev, and starts nothing but run.sh of the second disk.
set -eu
out=$1 mirror=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=linux-image-cloud-amd64,linux-headers-cloud-amd64,initramfs-tools,kmod,udev
packages=$packages,zfs-dkms,zfsutils-linux,dosfstools,e2fsprogs
DEBIAN_FRONTEND=noninteractive mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
	--keyring=/usr/share/keyrings/debian-archive-keyring.gpg --skip=check/empty \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	trixie "$work" "deb $mirror trixie main contrib"
if ! ls "$work"/lib/modules/*/updates/dkms/zfs.ko* >/dev/null; then
	echo "the modules were not compiled" >&2
	exit 1
fi
cat >"$work/start" <<'END'
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
modprobe -a zfs vfat ext4
mount -o ro /dev/vdb /media
sh /media/run.sh >/dev/ttyS0 2>&1
echo o >/proc/sysrq-trigger
sleep 60
END
chmod +x "$work/start"
mkdir -p "$out"
cp "$work"/boot/vmlinuz-* "$out/kernel"
cp "$work"/boot/initrd.img-* "$out/initrd"
rm -rf "$work"/usr/src "$work"/usr/lib/gcc "$work"/usr/libexec/gcc "$work"/usr/include \
	"$work"/usr/lib/linux-kbuild-* "$work"/var/lib/dkms "$work"/var/lib/apt/lists "$work"/var/cache/apt "$work"/boot
mke2fs -q -t ext4 -d "$work" "$out/root.img" 2G
