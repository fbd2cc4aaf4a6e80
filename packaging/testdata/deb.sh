rm -f /var/lib/man-db/auto-update # an index of the manual takes seconds each time
dpkg --install /mnt/*.deb
used
dpkg --verify lifeboat | grep -v /etc/lifeboat/environment && fail "installed files were changed"

# Installed over itself as an upgrade does, it keeps what an administrator changed.
chmod 0600 /etc/lifeboat/environment
dpkg --force-confold --install /mnt/*.deb
grep -q '# changed' /etc/lifeboat/environment || fail "the environment file was replaced"
has 600 root:lifeboat /etc/lifeboat/environment

dpkg --remove lifeboat
kept
grep -q '# changed' /etc/lifeboat/environment || fail "the environment file is gone"
dpkg --purge lifeboat 2>&1 | tee /tmp/purge
kept
grep -q 'var/lib/lifeboat stays' /tmp/purge || fail "nothing was said of the state directory"
echo finished
