package mysql

import (
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata" // whatever the host has

	"lifeboat/internal/testenv"
)

// TestZone finds the shifts of a server's clocks, and writes them so that they mean the same.
func TestZone(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t)
	for _, name := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "Africa/Casablanca"} {
		m.Stop()
		m.Env = []string{"TZ=" + name}
		m.Start()
		at, err := parse(m.DSN("root", ""), "")
		must(t, err)
		ses, err := dial(t.Context(), at)
		must(t, err)
		shifts, err := ses.zone()
		must(t, err)
		ses.close()
		read, err := time.LoadLocationFromTZData("found", zoneFile(shifts))
		must(t, err)
		want, err := time.LoadLocation(name)
		must(t, err)
		r := rand.New(rand.NewPCG(1, 1))
		for range 20000 {
			at := time.Unix(r.Int64N(1<<31-1), 0)
			if at.Year() > 2036 { // Go goes on by a rule, the file of the host may not
				continue
			}
			_, got := at.In(read).Zone()
			if _, offset := at.In(want).Zone(); got != offset {
				t.Fatalf("%s: at %s it is %d seconds ahead, want %d (%d shifts)", name, at.UTC(), got, offset, len(shifts))
			}
		}
	}
}
