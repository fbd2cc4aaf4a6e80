# root.sh DIR RELEASE SCRIPT: runs SCRIPT in a copy of this machine's root that is thrown away, with the release in /mnt. It has to run in a
# mount namespace of its own (unshare --mount), which ends with it; DIR is an empty directory.
set -eu
mount -t tmpfs -o mode=0755 none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" none "$1/root"
mount --bind "$2" "$1/root/mnt"
mount --rbind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs -o mode=1777 none "$1/root/tmp"
mount -t tmpfs none "$1/root/run"
exec chroot "$1/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 sh -eu -c "$3"
