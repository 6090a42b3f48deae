#!/bin/sh
# Makes the disk of an old system, with tools that are not vic's:
#
#	make.sh RELEASE FIRMWARE LOADER FS SECTOR IMAGE MIRROR [SECURITY-MIRROR]
#
#	bios: msdos table, root file system with /boot, GRUB as update-grub has it
#	uefi: GPT, EFI system partition, root file system; either systemd-boot with the
#	      kernel on the ESP, or GRUB there, and /boot in the root file system
#	lvm:  ext4 on a logical volume that fills the disk's only volume group; /boot
#	      (bios) is a partition of its own
#	SECTOR: bytes of the disk's logical one; 4096 with uefi and systemd-boot
#
# bookworm has its network from ifupdown and dhclient, trixie from systemd-networkd.
# What each machine has of its own (names, keys, addresses) comes later.
set -eu
release=$1 firmware=$2 loader=$3 fs=$4 sector=$5 image=$6 mirror=$7 security=${8:-}

packages=linux-image-cloud-amd64,initramfs-tools,kmod,udev,systemd-sysv,libpam-systemd,dbus
packages=$packages,openssh-server,sudo,iproute2
packages=$packages,zstd # initramfs-tools recommends it: installed systems have it
case $release in
bookworm) packages=$packages,ifupdown,isc-dhcp-client,ifenslave,vlan ;;
trixie) packages=$packages,systemd-resolved ;;
*) echo "no recipe for $release" >&2; exit 2 ;;
esac
case $firmware-$loader in
bios-grub) packages=$packages,grub-pc-bin,grub2-common platform=i386-pc ;;
uefi-grub) packages=$packages,grub-efi-amd64-bin,grub2-common platform=x86_64-efi ;;
uefi-systemd-boot) packages=$packages,systemd-boot-efi ;;
*) echo "no recipe for $loader on $firmware" >&2; exit 2 ;;
esac
case $fs-$firmware in
ext4-*) packages=$packages,e2fsprogs module=ext2 ;;
lvm-bios) packages=$packages,e2fsprogs,lvm2 module=ext2 ;;
xfs-*) packages=$packages,xfsprogs module=xfs ;;
btrfs-*) packages=$packages,btrfs-progs module=btrfs ;;
*) echo "no recipe for $fs on $firmware" >&2; exit 2 ;;
esac

mnt=$(mktemp -d) loops=
leave() {
	if mountpoint -q "$mnt"; then umount --recursive "$mnt"; fi
	for loop in $loops; do losetup --detach "$loop"; done
	loops=
	rmdir "$mnt"
}
trap leave EXIT
# attach START SIZE: $loop is that part of the image, in MiB.
attach() {
	loop=$(losetup --find --show --sector-size "$sector" --offset "$1MiB" --sizelimit "$2MiB" "$image")
	loops="$loop $loops"
}
# table LABEL PARTITION...: a partition table.
table() {
	label=$1
	shift
	attach 0 3072
	printf '%s\n' "$@" | sfdisk --quiet --no-reread --no-tell-kernel --label "$label" "$loop"
	losetup --detach "$loop"
	loops=${loops#"$loop "}
}

rm -f "$image"
truncate --size 3G "$image"
case $fs-$firmware in
lvm-bios)
	table dos 'start=1MiB, size=255MiB, type=83, bootable' 'start=256MiB, size=2645MiB, type=8e'
	attach 256 2645
	# Not activated: not every kernel has the device mapper. The volume is one piece,
	# behind the 1 MiB of metadata.
	export LVM_SUPPRESS_FD_WARNINGS=1
	pvcreate --quiet --devices "$loop" --driverloaded n "$loop" >/dev/null
	vgcreate --quiet --devices "$loop" --driverloaded n old "$loop" >/dev/null
	lvcreate --quiet --devices "$loop" --driverloaded n --activate n --zero n --wipesignatures n --extents 100%FREE --name root old >/dev/null
	start=257 size=2644
	;;
*-bios)
	table dos 'start=1MiB, size=2900MiB, type=83, bootable'
	start=1 size=2900
	;;
*-uefi)
	table gpt 'start=1MiB, size=100MiB, type=uefi' 'start=129MiB, size=2900MiB, type=linux'
	start=129 size=2900
	;;
esac
attach "$start" "$size"
case $fs in
ext4 | lvm) mke2fs -q -t ext4 -L oldroot "$loop" ;;
xfs) mkfs.xfs -q -L oldroot "$loop" ;;
btrfs) mkfs.btrfs -q -L oldroot "$loop" ;;
esac
uuid=$(blkid -s UUID -o value "$loop") root=UUID=$(blkid -s UUID -o value "$loop")
mount "$loop" "$mnt"
# Where GRUB finds /boot, and as what.
boot=$uuid kernels=/boot
if [ "$fs" = lvm ]; then
	root=/dev/mapper/old-root kernels=
	attach 1 255
	mke2fs -q -t ext4 -L oldboot "$loop"
	boot=$(blkid -s UUID -o value "$loop")
	mkdir "$mnt/boot"
	mount "$loop" "$mnt/boot"
fi

set -- "deb $mirror $release main" "deb $mirror $release-updates main"
if [ -n "$security" ]; then
	set -- "$@" "deb $security $release-security main"
fi
mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
	--keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
	--aptopt='Acquire::Languages "none"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --skip=check/empty \
	"$release" "$mnt" "$@"

# The initramfs: what mounts the root of a virtual machine, and no more.
type=$fs modules=$fs
if [ "$fs" = lvm ]; then type=ext4 modules='ext4 dm_mod'; fi
cat >"$mnt/etc/initramfs-tools/conf.d/small" <<-EOF
	MODULES=list
	BUSYBOX=n
	KEYMAP=n
	COMPRESS=gzip
	FSTYPE=$type
EOF
cat >"$mnt/etc/initramfs-tools/hooks/blkid" <<-'EOF'
	#!/bin/sh
	[ "$1" != prereqs ] || exit 0
	. /usr/share/initramfs-tools/hook-functions
	copy_exec /sbin/blkid # which without udev finds the root
EOF
chmod +x "$mnt/etc/initramfs-tools/hooks/blkid"
if [ "$fs" = lvm ]; then
	# Debian leaves it to udev, which is not in this initramfs.
	cat >"$mnt/etc/initramfs-tools/scripts/local-top/volumes" <<-'EOF'
		#!/bin/sh
		[ "$1" != prereqs ] || exit 0
		lvm vgchange --activate y --sysinit
		dmsetup mknodes
	EOF
	chmod +x "$mnt/etc/initramfs-tools/scripts/local-top/volumes"
fi
printf '%s\n' virtio_pci virtio_blk $modules >>"$mnt/etc/initramfs-tools/modules"
echo "$root / $type defaults 0 0" >"$mnt/etc/fstab"
if [ "$fs" = lvm ]; then echo "UUID=$boot /boot ext4 defaults 0 0" >>"$mnt/etc/fstab"; fi

chroot "$mnt" useradd --create-home --shell /bin/bash --groups sudo admin
echo "admin:$ADMIN_PASSWORD" | chroot "$mnt" chpasswd
rm -f "$mnt"/etc/ssh/ssh_host_* "$mnt/etc/hostname"
: >"$mnt/etc/machine-id"

# Emulated, every process costs a quarter of a second, and the network waits for most
# of them. So: nothing that runs by the clock, nothing that nobody here looks at, and
# udev asks about disks and network cards, and not each of a hundred terminals.
chroot "$mnt" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
	e2scrub_all.timer fstrim.timer e2scrub_reap.service systemd-tmpfiles-clean.timer \
	modprobe@drm.service modprobe@dm_mod.service modprobe@efi_pstore.service modprobe@fuse.service \
	modprobe@loop.service modprobe@configfs.service \
	dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
	systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-pstore.service \
	getty.target user@.service
rm -rf "$mnt/var/log/journal" "$mnt/usr/share/initramfs-tools/hooks/udev" "$mnt"/usr/share/initramfs-tools/scripts/*/udev
mkdir "$mnt/etc/systemd/system/systemd-udev-trigger.service.d"
cat >"$mnt/etc/systemd/system/systemd-udev-trigger.service.d/few.conf" <<-EOF
	[Service]
	ExecStart=
	ExecStart=-udevadm trigger --action=add --subsystem-match=pci --subsystem-match=virtio --subsystem-match=block --subsystem-match=net
EOF
if [ "$release" = trixie ]; then
	chroot "$mnt" systemctl --quiet enable systemd-networkd
fi

kernel=$(basename "$mnt"/boot/vmlinuz-*) version=${kernel#vmlinuz-}
chroot "$mnt" update-initramfs -u -k "$version" >/dev/null
options="root=$root ro console=ttyS0 loglevel=4 systemd.show_status=error"
if [ "$loader" = grub ]; then
	mkdir -p "$mnt/boot/grub"
	cp -r "$mnt/usr/lib/grub/$platform" "$mnt/boot/grub/"
	cat >"$mnt/etc/default/grub" <<-EOF
		GRUB_TIMEOUT=0
		GRUB_TERMINAL=console
	EOF
	# Its own finds no kernels on a loop device.
	cat >"$mnt/etc/grub.d/10_linux" <<-EOF
		#!/bin/sh
		cat <<END
		menuentry 'old system' {
			search --no-floppy --fs-uuid --set=root $boot
			linux $kernels/$kernel $options
			initrd $kernels/initrd.img-$version
		}
		END
	EOF
	for tree in dev proc sys; do mount --rbind "/$tree" "$mnt/$tree"; done
	chroot "$mnt" grub-editenv - create
	chroot "$mnt" update-grub
	for tree in dev proc sys; do umount --recursive --lazy "$mnt/$tree"; done
fi
case $firmware-$loader in
bios-grub)
	# As grub-install puts it between table and partition; that wants a device of
	# the partition, which not every kernel makes.
	chroot "$mnt" grub-mkimage --format=i386-pc --output=/boot/grub/core.img \
		--prefix="(hd0,msdos1)$kernels/grub" biosdisk part_msdos "$module" normal linux
	dd if="$mnt/usr/lib/grub/i386-pc/boot.img" of="$image" bs=440 count=1 conv=notrunc status=none
	dd if="$mnt/boot/grub/core.img" of="$image" bs=512 seek=1 conv=notrunc status=none
	;;
*)
	esp=$image@@1M
	case $sector in
	512) mformat -i "$esp" -T $((100 * 2048)) -F -v ESP :: ;;
	4096) mformat -i "$esp" -S 5 -T $((100 * 256)) -v ESP :: ;; # too few clusters for FAT32
	esac
	mmd -i "$esp" ::/EFI ::/EFI/BOOT
	echo 'LABEL=ESP /boot/efi vfat umask=0077 0 1' >>"$mnt/etc/fstab"
	mkdir -p "$mnt/boot/efi"
	;;
esac
case $firmware-$loader in
uefi-grub)
	printf 'search.fs_uuid %s root\nset prefix=($root)%s/grub\n' "$boot" "$kernels" >"$mnt/boot/grub/early.cfg"
	chroot "$mnt" grub-mkimage --format=x86_64-efi --output=/boot/grub/core.efi --config=/boot/grub/early.cfg \
		--prefix="$kernels/grub" part_gpt "$module" search_fs_uuid normal linux
	mcopy -i "$esp" "$mnt/boot/grub/core.efi" ::/EFI/BOOT/BOOTX64.EFI
	;;
uefi-systemd-boot)
	cat >"$mnt/boot/old.conf" <<-EOF
		title old system
		linux /$kernel
		initrd /initrd.img-$version
		options $options
	EOF
	mmd -i "$esp" ::/loader ::/loader/entries
	mcopy -i "$esp" "$mnt/usr/lib/systemd/boot/efi/systemd-bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
	mcopy -i "$esp" "$mnt/boot/$kernel" "$mnt/boot/initrd.img-$version" ::/
	mcopy -i "$esp" "$mnt/boot/old.conf" ::/loader/entries/old.conf
	rm "$mnt/boot/old.conf"
	;;
esac
rm -rf "$mnt"/var/cache/apt/*.bin "$mnt"/var/lib/apt/lists/*_*
sync -f "$mnt"
fstrim "$mnt" # deleted packages are no part of the image
