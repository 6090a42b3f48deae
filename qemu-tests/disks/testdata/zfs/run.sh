# What vic does with ZFS, in a system that has it. Lines that begin with FAILED are
# for the test.
layouts=/media
vic() { /media/vic "$@"; }

# works COMMAND...: it ends well.
works() {
	echo "# $*"
	"$@" >/tmp/out 2>&1 || {
		echo "FAILED: $* ended with $?"
		cat /tmp/out
	}
}
# says TEXT COMMAND...: it ends well and prints that.
says() {
	text=$1
	shift
	works "$@"
	grep -qe "$text" /tmp/out || {
		echo "FAILED: $* does not say '$text'"
		cat /tmp/out
	}
}
# refuses TEXT COMMAND...: it ends with 3, and says so.
refuses() {
	text=$1
	shift
	echo "# $*"
	"$@" >/tmp/out 2>&1
	code=$?
	if [ "$code" != 3 ] || ! grep -qe "$text" /tmp/out || ! grep -q "nothing was written" /tmp/out; then
		echo "FAILED: $* does not refuse with '$text', but ends with $code"
		cat /tmp/out
	fi
}

# all LAYOUT: made, made again, mounted, written to, and all of it again.
all() {
	works vic disk format "$1" --yes
	says "pool zroot: found done" vic disk format "$1" --yes
	works vic disk mount "$1"
	says "mount /home: found done" vic disk mount "$1"
	says "zroot/root on /mnt type zfs" mount
	says "zroot/home on /mnt/home type zfs" mount
	says "on /mnt/srv type ext4" mount
	says "^/dev/zd.*partition" cat /proc/swaps
	works vic disk verify "$1"
	echo kept >/mnt/home/file
	echo kept >/mnt/srv/file
	refuses "is in use" vic disk format "$1" --anew --yes
	works vic disk umount "$1"
	says "no pools available" zpool list
	works vic disk format "$1" --yes
	works vic disk mount "$1"
	says kept cat /mnt/home/file /mnt/srv/file
	works vic disk umount "$1"
	works vic disk format "$1" --anew --yes
	works vic disk mount "$1"
	says "^0$" sh -c "find /mnt/home /mnt/srv -name file | wc -l"
	works vic disk umount "$1"
}

echo "## without udev"
refuses "udev does not run here" vic disk format $layouts/whole.yaml --yes
all $layouts/partitions.yaml
works zpool import -N zroot
refuses "zpool export zroot" vic disk format $layouts/other.yaml --yes
says zroot zpool list -H -o name
works zpool export zroot
works vic disk destroy $layouts/partitions.yaml --yes

echo "## with udev"
/usr/lib/systemd/systemd-udevd --daemon
udevadm trigger
udevadm settle
all $layouts/whole.yaml
works vic disk destroy $layouts/whole.yaml --yes
says "^$" sh -c "blkid /dev/vdc* /dev/vdd* /dev/vde* || echo"
echo "## all done"
