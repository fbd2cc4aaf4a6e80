# What both packages have to be good for, for deb.sh and rpm.sh.
fail() {
	echo "FAILED: $*" >&2
	exit 1
}
# has MODE OWNER:GROUP PATH
has() {
	[ "$(stat -c '%a %U:%G' "$3")" = "$1 $2" ] || fail "$(stat -c '%n is %a %U:%G' "$3"), not $1 $2"
}

# used is called when the package is installed.
used() {
	has 755 root:root /usr/bin/lifeboat
	has 750 root:lifeboat /etc/lifeboat
	has 640 root:lifeboat /etc/lifeboat/environment
	has 640 root:lifeboat /etc/lifeboat/lifeboat.yaml.example
	has 700 lifeboat:lifeboat /var/lib/lifeboat
	[ ! -e /etc/lifeboat/lifeboat.yaml ] || fail "the package brings a configuration"
	getent passwd lifeboat | grep -q ':/var/lib/lifeboat:/usr/sbin/nologin$' || fail "the user is $(getent passwd lifeboat)"
	lifeboat version | grep '^lifeboat v0.9.0 '

	# The unit is one that systemd takes, and by far not as open as one that says nothing (9.6). It is not enabled.
	systemd-analyze verify /usr/lib/systemd/system/lifeboat.service
	systemd-analyze security --offline=yes --threshold=20 --no-pager /usr/lib/systemd/system/lifeboat.service >/tmp/security || fail "$(cat /tmp/security)"
	tail -n 1 /tmp/security
	[ ! -e /etc/systemd/system/multi-user.target.wants/lifeboat.service ] || fail "the service is enabled without a configuration"

	# The manual, and what the shell completes.
	zcat /usr/share/man/man1/lifeboat-restore.1.gz | grep -q '^.SH SYNOPSIS' || fail "no page for restore"
	zcat /usr/share/man/man1/lifeboat.1.gz | grep -q 'lifeboat v0.9.0' || fail "the manual is not of this version"
	zcat /usr/share/doc/lifeboat/third-party-licences.gz | grep -q '^==== filippo.io/age v' || fail "no licence of age"
	grep -q '^## Set it up' /usr/share/doc/lifeboat/doc/operations.md || fail "the manual of who runs it is missing"
	grep -q '(doc/operations.md)' /usr/share/doc/lifeboat/README.md || fail "README.md does not lead to it"
	zcat /usr/share/doc/lifeboat/changelog.gz | grep -q '^# Changelog' || fail "no changelog"
	bash -c 'set -eu; . /usr/share/bash-completion/completions/lifeboat; complete -p lifeboat' >/dev/null

	# The example with everything in it switched on has no mistake: a source that it does not have is then the only problem.
	sed 's/^#\(  \)/\1/' /etc/lifeboat/lifeboat.yaml.example >/tmp/all.yaml
	LIFEBOAT_S3_SECRET=x lifeboat -c /tmp/all.yaml doctor another 2>&1 | tee /tmp/doctor || true
	grep -q 'no source "another" in the configuration (it has: crm, orders)' /tmp/doctor || fail "the example has a mistake"

	# Its own instructions: a database that the application has open, which the user lifeboat reads through its group.
	groupadd crm
	useradd -g crm crm-app
	usermod -aG crm lifeboat
	install -d -o crm-app -g crm -m 2770 /srv/crm
	mkfifo /tmp/statements
	chown crm-app /tmp/statements
	runuser -u crm-app -- sh -c 'umask 007; exec sqlite3 /srv/crm/crm.db </tmp/statements >/dev/null' &
	exec 3>/tmp/statements
	echo 'pragma journal_mode=wal; create table customer (name); insert into customer values (1);' >&3
	until [ -s /srv/crm/crm.db-wal ]; do sleep 0.05; done
	install -m 0640 -g lifeboat /etc/lifeboat/lifeboat.yaml.example /etc/lifeboat/lifeboat.yaml
	lifeboat keygen -o /root/identity.txt >/etc/lifeboat/recipients.txt
	chgrp lifeboat /etc/lifeboat/recipients.txt
	install -d -o lifeboat -g lifeboat -m 0700 /backup/lifeboat
	cd /
	runuser -u lifeboat -- lifeboat init
	runuser -u lifeboat -- lifeboat backup crm
	exec 3>&-
	wait
	lifeboat restore crm --identity /root/identity.txt --to /tmp/restored --start --owner root
	has 600 lifeboat:lifeboat /var/lib/lifeboat/secrets.json
	echo '# changed' >>/etc/lifeboat/environment
}

# kept is called when the package is gone.
kept() {
	[ ! -e /usr/bin/lifeboat ] || fail "the program is still there"
	has 600 lifeboat:lifeboat /var/lib/lifeboat/secrets.json
	[ -e /etc/lifeboat/lifeboat.yaml ] || fail "the administrator's configuration is gone"
	[ -e /etc/lifeboat/recipients.txt ] || fail "the recipients are gone"
}
