// Package config reads lifeboat.yaml: what is backed up, where its copies go and by which rules. It checks the form of
// every value and that names refer to something, and reports all problems at once, each with its line and column. What
// a value means (a cron line, an address that answers) is for those who use it; nothing here does I/O but Load and Find,
// and a time zone that is looked up by its name.
package config

import (
	"time"

	"lifeboat/internal/bandwidth"
	"lifeboat/internal/calendar"
)

// Config is a whole configuration. Sections are in the order of the file. Paths are as written: relative ones are
// relative to the working directory.
type Config struct {
	Repository string
	StateDir   string
	Keys       Keys
	Sources    []Source
	Targets    []Target
	Policies   []Policy
	Notify     []Notify
	Daemon     Daemon
	Inline     Problems // secrets that stand in the file itself: it works, and whoever can read the file has them
}

// Daemon is how the daemon is watched from elsewhere.
type Daemon struct {
	Listen string // HOST:PORT of metrics and health; empty is none
}

// Keys names who can restore. Exactly one of the first two is set.
type Keys struct {
	Recipients     []string // age recipients
	RecipientsFile string   // a file with one a line
	Readers        []string // age recipients of drill hosts: they open what was backed up, and no key that signs
}

// Engine is what a source is made by.
type Engine string

// The engines.
const (
	Postgres Engine = "postgres"
	MySQL    Engine = "mysql"
	SQLite   Engine = "sqlite"
	Files    Engine = "files"
)

// HasLog reports whether an engine keeps a log that can be captured.
func (e Engine) HasLog() bool { return e == Postgres || e == MySQL }

// Mode is how snapshots of a MySQL source are taken. Empty is ModeAuto.
type Mode string

// The modes.
const (
	ModeAuto     Mode = "auto"     // physical where it can run, else logical
	ModePhysical Mode = "physical" // the server's files, beside the server
	ModeLogical  Mode = "logical"  // SQL, from anywhere
)

// Source is one thing to back up. Which of the fields are set depends on the engine.
type Source struct {
	Name         string
	Engine       Engine
	Owner        string   // who answers for the data
	DSN          DSN      // postgres, mysql
	PasswordFile string   // postgres, mysql: holds the DSN's password
	Mode         Mode     // mysql
	Path         string   // sqlite
	Paths        []string // files
	Exclude      []string // files: patterns of what of the paths is left out
	Fingerprints []string // files: of which only a digest is stored
}

// TargetType is the kind of store of a target.
type TargetType string

// The target types.
const (
	Local TargetType = "local"
	S3    TargetType = "s3"
	SFTP  TargetType = "sftp"
)

// Target is one place for copies. Which of the fields are set depends on the type.
type Target struct {
	Name    string
	Type    TargetType
	Media   string // what it is made of; policies count different ones
	Offsite bool
	Path    string // local, sftp

	Bandwidth bandwidth.Schedule // s3, sftp

	Endpoint      string // s3: a URL; empty is the provider's own
	Region        string // s3
	Bucket        string // s3
	Prefix        string // s3
	PathStyle     *bool  // s3: nil is as the endpoint's provider wants it
	AccessKey     string // s3: without it, credentials come from the environment, shared files or a role
	SecretKey     Secret // s3: this or a file that holds it, with AccessKey
	SecretKeyFile string // s3
	Profile       string // s3: of the shared files
	CAFile        string // s3: certificates to trust besides the system's
	SSE           string // s3: "AES256", "aws:kms", or as the bucket has it
	SSEKMSKey     string // s3
	ObjectLock    ObjectLock

	Host       string // sftp
	Port       int    // sftp: 22 unless set
	User       string // sftp
	KeyFile    string // sftp
	KnownHosts string // sftp
}

// ObjectLock is how long an S3 target refuses to delete. Zero is no lock.
type ObjectLock struct {
	Mode string // "governance" or "compliance"
	For  calendar.Duration
}

// Policy says how some sources are kept. Zero values are "not said".
type Policy struct {
	Name      string
	Sources   []string
	Schedule  Schedule
	Check     *calendar.Cron    // when its targets are checked; nil is not said
	Logs      string            // "continuous", or empty: no log is captured
	RPO       calendar.Duration // how much work may be lost
	Targets   []string          // all, if empty
	Retention Retention
	Copies    Copies
	Drill     Drill
	Heartbeat Secret // a URL that is called after success, and holds a token
}

// Schedule is when snapshots are taken. Nil is not said.
type Schedule struct {
	Full, Incremental *calendar.Cron
	Zone              *time.Location    // of everything in the policy that goes by the calendar; the host's unless set
	Jitter            calendar.Duration // how far runs are spread, so that they do not all begin at once
	Blackout          []calendar.Window // when nothing is begun
}

// Retention is how long what is kept: every point of time, and one snapshot of each period. Zero keeps everything.
type Retention struct {
	PITR, Daily, Weekly, Monthly, Yearly calendar.Duration
	Minimum                              calendar.Duration // every snapshot is kept that long
	AllowBelow90d                        string            // why less than a point a day for 90 days is enough
}

// Copies is the 3-2-1 rule of a policy: how many copies, on how many media, how many of them elsewhere or locked.
type Copies struct {
	Count, Media, Offsite, Immutable int
}

// Notify is one place to tell what happened. Which of the fields are set depends on the kind.
type Notify struct {
	Kind         string // "webhook", "smtp", "dingtalk" or "wecom"
	URL          Secret
	From         string   // smtp: empty is the user or who it is for
	To           []string // smtp
	PasswordFile string   // smtp: holds the URL's password
	SecretFile   string   // dingtalk: holds what messages are signed with
}

// Source finds a source by name.
func (c *Config) Source(name string) (Source, bool) {
	for _, s := range c.Sources {
		if s.Name == name {
			return s, true
		}
	}
	return Source{}, false
}

// Target finds a target by name.
func (c *Config) Target(name string) (Target, bool) {
	for _, t := range c.Targets {
		if t.Name == name {
			return t, true
		}
	}
	return Target{}, false
}
