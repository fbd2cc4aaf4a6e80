rpm='rpm --force-debian --nodeps' # its database knows nothing of this machine's packages
rm /usr/bin/systemd-sysusers     # there are systems without it
rpm --checksig --nosignature /mnt/*.rpm
$rpm --install /mnt/*.rpm
used
rpm --verify --nodeps lifeboat | grep -v /etc/lifeboat/environment && fail "installed files were changed"

$rpm --upgrade --force /mnt/*.rpm
grep -q '# changed' /etc/lifeboat/environment || fail "the environment file was replaced"

$rpm --erase lifeboat 2>&1 | tee /tmp/erase
kept
grep -q '# changed' /etc/lifeboat/environment.rpmsave || fail "the environment file is gone"
grep -q 'var/lib/lifeboat stays' /tmp/erase || fail "nothing was said of the state directory"
echo finished
