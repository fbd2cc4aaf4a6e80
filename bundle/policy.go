package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"lifeboat/internal/calendar"
)

// policy is what a verifier needs of the text of a policy, which config.PolicyText makes.
type policy struct {
	Format   int    `json:"format"`
	Name     string `json:"name"`
	Schedule struct {
		Zone string `json:"timezone"`
	} `json:"schedule"`
	Drill struct {
		Schedule string `json:"schedule"` // five fields; empty: by hand only
	} `json:"drill"`
}

// parsePolicy reads the text of a policy as the journal names it.
func parsePolicy(text []byte) (p policy, err error) {
	if err := json.Unmarshal(text, &p); err != nil {
		return policy{}, err
	}
	if p.Format != 1 {
		return policy{}, fmt.Errorf("it has format %d, and this version of lifeboat reads 1", p.Format)
	}
	return p, nil
}

// drillSchedule is when a policy wants drills; nil: by hand only.
func drillSchedule(text []byte) (*calendar.Cron, error) {
	p, err := parsePolicy(text)
	if err != nil || p.Drill.Schedule == "" {
		return nil, err
	}
	c, err := calendar.ParseCron(p.Drill.Schedule)
	if err != nil {
		return nil, err
	}
	if p.Schedule.Zone == "Local" || p.Schedule.Zone == "" {
		return nil, errors.New("it names no time zone, and that of the host is not known here")
	}
	zone, err := time.LoadLocation(p.Schedule.Zone)
	if err != nil {
		return nil, err
	}
	return c.In(zone), nil
}
