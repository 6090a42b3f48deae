#!/bin/sh
# Makes the disk of an old system, with tools that are not vic's:
#
#	make.sh RELEASE FIRMWARE FS IMAGE MIRROR [SECURITY-MIRROR]
#
#	bios: msdos table, root file system with /boot, GRUB as update-grub has it
#	uefi: GPT, EFI system partition with systemd-boot and the kernel, root file system
#
# bookworm has its network from ifupdown and dhclient, trixie from systemd-networkd.
# What each machine has of its own (names, keys, addresses) comes later.
set -eu
release=$1 firmware=$2 fs=$3 image=$4 mirror=$5 security=${6:-}

packages=linux-image-cloud-amd64,initramfs-tools,kmod,udev,systemd-sysv,libpam-systemd,dbus
packages=$packages,openssh-server,sudo,iproute2
packages=$packages,zstd # initramfs-tools recommends it: installed systems have it
case $release in
bookworm) packages=$packages,ifupdown,isc-dhcp-client,ifenslave,vlan ;;
trixie) packages=$packages,systemd-resolved ;;
*) echo "no recipe for $release" >&2; exit 2 ;;
esac
case $firmware in
bios) packages=$packages,grub-pc-bin,grub2-common ;;
uefi) packages=$packages,systemd-boot-efi ;;
*) echo "no recipe for $firmware" >&2; exit 2 ;;
esac
case $fs in
ext4) packages=$packages,e2fsprogs module=ext2 ;;
btrfs) packages=$packages,btrfs-progs module=btrfs ;;
*) echo "no recipe for $fs" >&2; exit 2 ;;
esac

mnt=$(mktemp -d) loop=
leave() {
	if mountpoint -q "$mnt"; then umount --recursive "$mnt"; fi
	if [ -n "$loop" ]; then losetup --detach "$loop"; fi
	loop=
	rmdir "$mnt"
}
trap leave EXIT

rm -f "$image"
truncate --size 3G "$image"
if [ "$firmware" = bios ]; then
	echo 'start=1MiB, size=2900MiB, type=83, bootable' | sfdisk --quiet --label dos "$image"
	start=1
else
	printf 'start=1MiB, size=128MiB, type=uefi\nstart=129MiB, size=2900MiB, type=linux\n' | sfdisk --quiet --label gpt "$image"
	start=129
fi
loop=$(losetup --find --show --offset "${start}MiB" --sizelimit 2900MiB "$image")
case $fs in
ext4) mke2fs -q -t ext4 -L oldroot "$loop" ;;
btrfs) mkfs.btrfs -q -L oldroot "$loop" ;;
esac
uuid=$(blkid -s UUID -o value "$loop")
mount "$loop" "$mnt"

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
cat >"$mnt/etc/initramfs-tools/conf.d/small" <<-EOF
	MODULES=list
	BUSYBOX=n
	KEYMAP=n
	COMPRESS=gzip
	FSTYPE=$fs
EOF
cat >"$mnt/etc/initramfs-tools/hooks/blkid" <<-'EOF'
	#!/bin/sh
	[ "$1" != prereqs ] || exit 0
	. /usr/share/initramfs-tools/hook-functions
	copy_exec /sbin/blkid # which without udev finds the root
EOF
chmod +x "$mnt/etc/initramfs-tools/hooks/blkid"
printf 'virtio_pci\nvirtio_blk\n%s\n' "$fs" >>"$mnt/etc/initramfs-tools/modules"
echo "UUID=$uuid / $fs defaults 0 0" >"$mnt/etc/fstab"

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
options="root=UUID=$uuid ro console=ttyS0 loglevel=4 systemd.show_status=error"
if [ "$firmware" = bios ]; then
	mkdir -p "$mnt/boot/grub"
	cp -r "$mnt/usr/lib/grub/i386-pc" "$mnt/boot/grub/"
	cat >"$mnt/etc/default/grub" <<-EOF
		GRUB_TIMEOUT=0
		GRUB_TERMINAL=console
	EOF
	# Its own finds no kernels on a loop device.
	cat >"$mnt/etc/grub.d/10_linux" <<-EOF
		#!/bin/sh
		cat <<END
		menuentry 'old system' {
			search --no-floppy --fs-uuid --set=root $uuid
			linux /boot/$kernel $options
			initrd /boot/initrd.img-$version
		}
		END
	EOF
	for tree in dev proc sys; do mount --rbind "/$tree" "$mnt/$tree"; done
	chroot "$mnt" grub-editenv - create
	chroot "$mnt" update-grub
	for tree in dev proc sys; do umount --recursive --lazy "$mnt/$tree"; done
	# As grub-install puts it between table and partition; that wants a device of
	# the partition, which not every kernel makes.
	chroot "$mnt" grub-mkimage --format=i386-pc --output=/boot/grub/core.img \
		--prefix='(hd0,msdos1)/boot/grub' biosdisk part_msdos "$module" normal linux
	dd if="$mnt/usr/lib/grub/i386-pc/boot.img" of="$image" bs=440 count=1 conv=notrunc status=none
	dd if="$mnt/boot/grub/core.img" of="$image" bs=512 seek=1 conv=notrunc status=none
else
	esp=$image@@1M
	cat >"$mnt/boot/old.conf" <<-EOF
		title old system
		linux /$kernel
		initrd /initrd.img-$version
		options $options
	EOF
	mformat -i "$esp" -T $((128 * 2048)) -F -v ESP ::
	mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/loader ::/loader/entries
	mcopy -i "$esp" "$mnt/usr/lib/systemd/boot/efi/systemd-bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
	mcopy -i "$esp" "$mnt/boot/$kernel" "$mnt/boot/initrd.img-$version" ::/
	mcopy -i "$esp" "$mnt/boot/old.conf" ::/loader/entries/old.conf
	echo 'LABEL=ESP /boot/efi vfat umask=0077 0 1' >>"$mnt/etc/fstab"
	mkdir -p "$mnt/boot/efi"
	rm "$mnt/boot/old.conf"
fi
rm -rf "$mnt"/var/cache/apt/*.bin "$mnt"/var/lib/apt/lists/*_*
sync -f "$mnt"
fstrim "$mnt" # deleted packages are no part of the image
