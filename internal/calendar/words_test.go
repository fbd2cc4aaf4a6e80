package calendar_test

import (
	"testing"

	"lifeboat/internal/calendar"
)

func TestCronWords(t *testing.T) {
	for text, want := range map[string]string{
		"0 2 * * 0":             "at 02:00 on Sundays",
		"0 2 * * 7":             "at 02:00 on Sundays",
		"15 * * * *":            "at minute 15 of every hour",
		"* * * * *":             "every minute",
		"*/20 * * * *":          "every 20 minutes",
		"5-30,45 * * * *":       "at minutes 5 to 30 and 45 of every hour",
		"0,30 8,20 * * 1-5":     "at 08:00, 08:30, 20:00 and 20:30 on Mondays to Fridays",
		"15 */2 * * *":          "every 2 hours from 00:15 every day",
		"15 1-23/3 * * 1":       "every 3 hours from 01:15 on Mondays",
		"3,33 * * * *":          "at minutes 3 and 33 of every hour",
		"15 */5 * * *":          "at minute 15 of hours 0, 5, 10, 15 and 20 every day",
		"15 8-18 * * 1,3,5":     "at minute 15 of hours 8 to 18 on Mondays, Wednesdays and Fridays",
		"*/15 22,23,1 * * *":    "every 15 minutes of hours 1, 22 and 23 every day",
		"30 4 1 * *":            "at 04:30 on day 1 of the month",
		"30 4 1,15-17 */3 *":    "at 04:30 on days 1 and 15 to 17 of the month in January, April, July and October",
		"0 0 13 * 5":            "at 00:00 on day 13 of the month, and on Fridays",
		"0 0 * 12 6-7":          "at 00:00 on Saturdays and Sundays in December",
		"0 0 29 2 *":            "at 00:00 on day 29 of the month in February",
		"@hourly":               "at minute 0 of every hour",
		"@daily":                "at 00:00 every day",
		"@weekly":               "at 00:00 on Sundays",
		"@monthly":              "at 00:00 on day 1 of the month",
		"@yearly":               "at 00:00 on day 1 of the month in January",
		"0 * * 6-8 MON,TUE,SUN": "at minute 0 of every hour on Mondays, Tuesdays and Sundays in June to August",
	} {
		c, err := calendar.ParseCron(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Words(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestWindowAndDurationWords(t *testing.T) {
	work := calendar.Days{1: true, 2: true, 3: true, 4: true, 5: true}
	for want, w := range map[string]calendar.Window{
		"from 20:00 to 08:00 on Mondays to Fridays": {Days: work, From: 20 * 60, To: 8 * 60},
		"from 00:00 to 00:30 every day":             {Days: calendar.EveryDay, To: 30},
		"all day on Saturdays and Sundays":          {Days: calendar.Days{0: true, 6: true}, To: 24 * 60},
		"all day every day":                         calendar.Always,
	} {
		if got := w.Words(); got != want {
			t.Errorf("%+v: %q, want %q", w, got, want)
		}
	}
	for text, want := range map[string]string{"1m": "1 minute", "30d": "30 days", "24mo": "24 months", "1y": "1 year", "2w": "2 weeks", "4h": "4 hours", "90s": "90 seconds"} {
		d, err := calendar.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Words(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
