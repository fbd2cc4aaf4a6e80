// Package config reads lifeboat.yaml: what is backed up, where its copies go and by which rules. It checks the form of
// every value and that names refer to something, and reports all problems at once, each with its line and column. What
// a value means (a cron line, an address that answers) is for those who use it; nothing here does I/O but Load and Find,
// and a time zone that is looked up by its name.
package config

import "lifeboat/internal/bandwidth"

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
}

// Keys names who can restore. Exactly one of the two is set.
type Keys struct {
	Recipients     []string // age recipients
	RecipientsFile string   // a file with one a line
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

// Source is one thing to back up. Which of the fields are set depends on the engine.
type Source struct {
	Name         string
	Engine       Engine
	Owner        string   // who answers for the data
	DSN          DSN      // postgres, mysql
	PasswordFile string   // postgres, mysql: holds the DSN's password
	Path         string   // sqlite
	Paths        []string // files
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
	For  Duration
}

// Policy says how some sources are kept. Zero values are "not said".
type Policy struct {
	Name      string
	Sources   []string
	Schedule  Schedule
	Logs      string   // "continuous", or empty: no log is captured
	RPO       Duration // how much work may be lost
	Targets   []string // all, if empty
	Retention Retention
	Copies    Copies
	Drill     Drill
}

// Schedule is when snapshots are taken: five-field cron or @daily and the like, not checked here.
type Schedule struct {
	Full        string
	Incremental string
	Timezone    string // IANA name
}

// Retention is how long what is kept: every point of time, and one snapshot of each period.
type Retention struct {
	PITR, Daily, Weekly, Monthly, Yearly Duration
}

// Copies is the 3-2-1 rule of a policy: how many copies, on how many media, how many of them elsewhere or locked.
type Copies struct {
	Count, Media, Offsite, Immutable int
}

// Drill is how a policy proves its backups.
type Drill struct {
	Schedule string
	RTO      Duration // how long a restore may take
	Select   string   // how the point to restore is picked
	Window   Duration // how far back it may be
	From     string   // a target's name, or "rotate"
	Checks   []Check
}

// Check is an assertion about the restored database: the first column of the first row is at least Min.
type Check struct {
	Name string
	SQL  string
	Min  *float64 // nil: the statement only has to succeed
}

// Notify is one place to tell what happened: URL by kind (webhook, smtp, dingtalk, wecom).
type Notify struct {
	Kind string
	URL  Secret
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
