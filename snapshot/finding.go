package snapshot

// Level is the verdict of a Finding.
type Level string

// Levels, from harmless to "a snapshot will fail".
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Finding is what one preflight of a source found.
type Finding struct {
	Name   string // what was looked at, in a few words
	Level  Level
	Detail string // one line
	Fix    string // a command or statement to paste; empty where there is nothing to do
}
