package phrase

// What a drill asks the restored database (verify).
const (
	NotWithin   Phrase = "it did not end within %1s: %v"
	NoFaults    Phrase = "no faults"
	Faults      Phrase = "%d faults"
	Unavailable Phrase = "this cannot be checked here"

	AllObjects     Phrase = "list of all objects"
	SomeTable      Phrase = "at least one table"
	TablesOf       Phrase = "the %d tables of %v"
	ProductionAt   Phrase = "production at %20s"
	TheDrill       Phrase = "the drill %s"
	TableMissing   Phrase = "table %s is missing"
	NoTables       Phrase = "the database has no tables"
	Unlisted       Phrase = "what the database consists of is not known"
	NewestTime     Phrase = "time of the newest transaction"
	NewestUnknown  Phrase = "the engine does not say when its newest transaction was"
	MissingChanges Phrase = "transactions are missing that the captured log has"

	CountEach        Phrase = "count(*) of each table, the smallest first"
	CountExpected    Phrase = "tables proven unchanged: exactly as in production; no table empty that was not"
	RowsProven       Phrase = "%s has %d rows, not %d, and the log proves that it did not change"
	RowsGone         Phrase = "%s is empty, and had %d rows"
	Counted          Phrase = "%d of %d tables counted, %d proven unchanged and equal"
	NotCounted       Phrase = "%d tables were not counted"
	NotCountedInTime Phrase = "%d tables were not counted for want of time: %v"
	NotHashedInTime  Phrase = "%d tables were not hashed for want of time: %v"
	DrillEnded       Phrase = "the drill was ended"
	TimeLimit        Phrase = "time_limit is %1s"

	AgainstDrill      Phrase = "rows against the last drill of an earlier point"
	AgainstProduction Phrase = "rows against production"
	NoneShrank        Phrase = "none shrank by more than 10 %% or %d rows"
	WithinRows        Phrase = "within 10 %% or %d rows"
	RowsChanged       Phrase = "%s has %d rows, and had %d"
	Compared          Phrase = "%d tables compared, %d outside"

	HashRows       Phrase = "hash of all rows, whatever their order"
	NoneAtPosition Phrase = "nothing to compare with: no other drill reached this position"
	SamePosition   Phrase = "as in the drill %s, which reached the same position"
	OtherContent   Phrase = "%s has another content than in the drill %s"
	Hashed         Phrase = "%d of %d tables hashed, %d of them in part, %d compared"

	PolicyStatement Phrase = "statement of the policy"

	CanaryRow      Phrase = "row %d of %1s in lifeboat_canary, which was written at %20s, right before the snapshot"
	CanaryExpected Phrase = "the row, with the SHA-256 %1s"
	CanaryFound    Phrase = "the row"
	CanaryOther    Phrase = "another value"
	CanaryChanged  Phrase = "the row was changed after it was written, or what was restored is not what was backed up"
	CanaryGone     Phrase = "no such row, and no other"
	CanaryNewest   Phrase = "no such row; the newest is %d"
	CanaryRemoved  Phrase = "somebody removed the row after the snapshot began, or what was restored is not what was backed up"
	CanaryTooOld   Phrase = "the newest row has the number %d, and only %d are kept: the snapshots between this one and the point were not used"
	AnAnswer       Phrase = "an answer"
	ANumber        Phrase = "a number"
	EqualTo        Phrase = "equal to %s"
	Matching       Phrase = "matching %s"
	AtLeast        Phrase = "at least %s"
	AtMost         Phrase = "at most %s"
	WithinNoLast   Phrase = "within %s %% of the last drill, of which there is none"
	WithinLast     Phrase = "within %s %% of %s, the value of the last drill"
	LastNoNumber   Phrase = "compare with the last drill: its value %s is no number"
)

// What a drill says of itself.
const (
	TooLong       Phrase = "it took too long"
	MoreThan      Phrase = "more than %1s"
	Restoring     Phrase = "restore"
	RestoringOf   Phrase = "restore %1s"
	Starting      Phrase = "start the restored database"
	Asking        Phrase = "ask the restored database"
	Stopping      Phrase = "stop the restored database"
	FindingWay    Phrase = "find the way to the point on %1s"
	Preparing     Phrase = "prepare the drill"
	TearingDown   Phrase = "tear down"
	ProcessesLeft Phrase = "%d processes are left"
	LeftIn        Phrase = "%d processes and %d files are left in %s"
	NobodyWorks   Phrase = "no process has its working directory below %s"
	DirectoryGone Phrase = "%s is not there any more"
	Killed        Phrase = "the drill was killed before it ended, or its report could not be kept"
	SomebodyEnded Phrase = "somebody ended the drill"

	RTONotMeasured Phrase = "not measured: nothing was restored"
	RTOGivenUp     Phrase = "it was given up after this time"
	RTOHow         Phrase = "from opening the copy until the engine answered, without the checks"
	RPOHow         Phrase = "from the newest moment that can be restored from this copy until the drill began"
	RPONone        Phrase = "the policy promises none"
	ReadAll        Phrase = "decrypt every frame that the point needs, and compare every chunk with its ID; read all log behind it"
	BehindRecord   Phrase = "%s, behind its record"

	Cipher       Phrase = "age-encryption.org/v1: ML-KEM-768 + X25519, HKDF-SHA-256, ChaCha20-Poly1305"
	CipherWeaker Phrase = "the key of that is sealed to classic recipients, too (X25519 alone)"
	ClockUnknown Phrase = "system clock; whether it is kept right is not known"
	ClockLoose   Phrase = "system clock, not synchronised"
	ClockSynced  Phrase = "system clock, synchronised to within %1s"

	FoundCheck      Phrase = "%s: expected %v, observed %v"
	FoundObjective  Phrase = "%1s: %1s where %1s is promised"
	FoundProjection Phrase = "the restore of production from %s is projected to take longer than the RTO"
	Retest          Phrase = "a drill from the same copy that passes: lifeboat drill run %s --from %s"
)

// What is projected (policies).
const (
	Drill Noun = "drill"

	Model           Phrase = "restore from %s (%v): %v; replay (%v): %v; the rest: %s"
	ModelVague      Phrase = "it is not known how far that is off: from half to double"
	FixedContent    Phrase = "%s, however much content"
	FixedLog        Phrase = "%s, however much log"
	RateContent     Phrase = "1 s for each %s of content"
	RateLog         Phrase = "1 s for each %s of log"
	FixedAndContent Phrase = "%s and 1 s for each %s of content"
	FixedAndLog     Phrase = "%s and 1 s for each %s of log"
	SameSize        Phrase = "as all were of much the same size, and at least %s"
	Assumption      Phrase = "It assumes the size of the newest snapshot, the most log that a drill had to replay, and the machine and the line of these drills."
)

// How the copy and the point were picked (policies), and why a stretch of time cannot be restored.
const (
	Interval Noun = "interval"
	Snapshot Noun = "snapshot"

	GivenPoint      Phrase = "the point was given: nothing was drawn"
	NewestPoint     Phrase = "the newest point alone: nothing was drawn"
	DrawnMoment     Phrase = "%d milliseconds (%s) in %v: %v; number %d was drawn"
	DrawnSnapshot   Phrase = "%v: %v; number %d was drawn"
	Abridged        Phrase = "%v ... %v (SHA-256 of all, each with a line feed: %s)"
	FromTo          Phrase = "%20s to %20s"
	MillisecondsOf  Phrase = "%d milliseconds of %v"
	TheTarget       Phrase = "target %s"
	TheSnapshot     Phrase = "snapshot %s"
	BeforeWindow    Phrase = "%v before %20s"
	BehindWindow    Phrase = "%v after %20s"
	MoreSnapshots   Phrase = "%d more snapshots"
	MoreGaps        Phrase = "%d more gaps"
	EachReason      Phrase = "as those before, each for its own reason"
	OutsideOfWindow Phrase = "outside of the window of %v"
	NotYet          Phrase = "it is not yet that time"

	Gap            Phrase = "%20s to %20s: %v"
	GapOther       Phrase = "another database, or an older state of it, stood there from then on"
	GapDropped     Phrase = "retention has dropped the log: a time in here means the snapshot at its beginning"
	GapNotCaptured Phrase = "the log was not captured"
	GapClock       Phrase = "the host's clock went back here"
	GapServer      Phrase = "the server had dropped this log"
	GapSlot        Phrase = "its slot was removed from the server"
)

// What the engines say of how they looked, and of statements that went wrong (source/sqlite, source/postgres). Network, listening and archiving are of the isolation.
const (
	SQLiteNetwork    Phrase = "none: a file is read, by no server"
	SQLiteListening  Phrase = "nothing listens"
	SQLiteArchiving  Phrase = "off: the file is only read"
	SQLiteLimitation Phrase = "the library that reads the file is part of Lifeboat"
	SQLiteIntegrity  Phrase = "PRAGMA integrity_check of SQLite %1s"
	SQLiteReferences Phrase = "PRAGMA foreign_key_check of SQLite %1s"
	SQLiteOrphan     Phrase = "row %s of %s refers to a row of %s that is not there" // format of SQLite renders it, too

	OwnNetwork         Phrase = "none: a network namespace of its own"
	HostNetwork        Phrase = "that of the host, on which it does not listen: the system refused it a namespace of its own: %v"
	UnknownNetwork     Phrase = "unknown: %v"
	PostgresListening  Phrase = "no address; a Unix socket in the data directory, which only its owner may enter"
	PostgresArchiving  Phrase = "off"
	PostgresLimitation Phrase = "the server shares the kernel and the file systems of this host, as far as its user may read them, Unix sockets among them; foreign tables and dblink are cut off"

	StatementLate     Phrase = "the statement did not end in time"
	StatementWrites   Phrase = "the statement writes, and may only read"
	StatementNoRow    Phrase = "the statement has no row"
	StatementNoColumn Phrase = "the statement has no column"
	StatementRows     Phrase = "the statement has more than one row"
	Statements        Phrase = "there is more than one statement"
	ValueLarge        Phrase = "the value has more than %d bytes"
	RowLarge          Phrase = "the row has more than %d bytes"
	SessionEnded      Phrase = "the server ended the session"

	Amcheck        Phrase = "amcheck %s in %d databases: verify_heapam of %d tables with their TOAST, bt_index_parent_check with heapallindexed of %d B-trees; where the extension was missing it was created in a transaction that was rolled back"
	IndexesNot     Phrase = "not checked: %d indexes of kind %s"
	RelationsNot   Phrase = "%d relations could not be checked"
	AntiJoins      Phrase = "anti-join of each of the %d foreign keys of %d databases"
	PeriodsNot     Phrase = "not looked at: %d over periods of time"
	Orphans        Phrase = "%s: rows at %s refer by %s to rows of %s that are not there"
	OrphansAndMore Phrase = "%s: rows at %s, and perhaps more refer by %s to rows of %s that are not there"

	SinceCounted Phrase = "since they were counted %d tables may have changed, and %d were dropped or renamed"
	NotQuiet     Phrase = "other transactions were in progress when tables were counted, or it was a standby, so the log cannot prove which did not change"
	CountedLater Phrase = "tables were counted at %s, behind %s which was restored"
	NoLogLeads   Phrase = "no log leads from timeline %d to %d"
)
