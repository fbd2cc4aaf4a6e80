package calendar

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// fewTimes are named one by one.
const fewTimes = 4

// Words say when a schedule comes: "at 02:00 on Sundays".
func (c *Cron) Words() string {
	minutes, hours := set(c.spec.Minute, 0, 59), set(c.spec.Hour, 0, 23)
	when := ""
	switch {
	case len(hours) == 24:
		if when = minuteWords(minutes); !strings.HasPrefix(when, "every") {
			when += " of every hour"
		}
	case len(hours)*len(minutes) <= fewTimes:
		var times []string
		for _, h := range hours {
			for _, m := range minutes {
				times = append(times, fmt.Sprintf("%02d:%02d", h, m))
			}
		}
		when = "at " + and(times)
	case len(minutes) == 1 && even(hours, 24):
		when = fmt.Sprintf("every %d hours from %02d:%02d", 24/len(hours), hours[0], minutes[0])
	default:
		when = minuteWords(minutes) + " of " + counted("hour", hours)
	}
	return when + c.dayWords(len(hours) < 24)
}

// dayWords say on which days; on every day that is said only where it should be.
func (c *Cron) dayWords(say bool) (out string) {
	days, week := set(c.spec.Dom, 1, 31), c.spec.Dow
	var of Days
	for d := range of {
		of[d] = week>>d&1 == 1
	}
	switch monthly, weekly := len(days) < 31, of != EveryDay; {
	case monthly && weekly:
		out = fmt.Sprintf(" on %s of the month, and on %s", counted("day", days), of.Words())
	case monthly:
		out = fmt.Sprintf(" on %s of the month", counted("day", days))
	case weekly:
		out = " on " + of.Words()
	case say:
		out = " every day"
	}
	if months := set(c.spec.Month, 1, 12); len(months) < 12 {
		out += " in " + and(runs(months, func(m int) string { return time.Month(m).String() }))
	}
	return out
}

func minuteWords(minutes []int) string {
	switch {
	case len(minutes) == 60:
		return "every minute"
	case len(minutes) > 1 && minutes[0] == 0 && even(minutes, 60):
		return fmt.Sprintf("every %d minutes", 60/len(minutes))
	}
	return "at " + counted("minute", minutes)
}

// even reports whether numbers are as far apart from each other as the last is from the first, going round.
func even(numbers []int, round int) bool {
	step := round / len(numbers)
	for i, n := range numbers {
		if n != numbers[0]+i*step {
			return false
		}
	}
	return step*len(numbers) == round
}

// Words name days: "Mondays to Fridays".
func (d Days) Words() string {
	if d == EveryDay {
		return "every day"
	}
	var on []int
	for i := range 7 {
		if day := (i + 1) % 7; d[day] { // a week begins with Monday
			on = append(on, i)
		}
	}
	return and(runs(on, func(i int) string { return time.Weekday((i+1)%7).String() + "s" }))
}

// Words say when a window is open: "from 20:00 to 08:00 on Mondays to Fridays".
func (w Window) Words() string {
	days := w.Days.Words()
	if w.Days != EveryDay {
		days = "on " + days
	}
	if w.From == 0 && w.To == day {
		return "all day " + days
	}
	return fmt.Sprintf("from %02d:%02d to %02d:%02d %s", w.From/60, w.From%60, w.To/60, w.To%60, days)
}

// Words write a duration out: "30 days".
func (d Duration) Words() string {
	names := map[string]string{"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
	if d.N == 1 {
		return "1 " + names[d.Unit]
	}
	return fmt.Sprintf("%d %ss", d.N, names[d.Unit])
}

// set lists the bits of a field from low to high.
func set(field uint64, low, high int) (out []int) {
	for i := low; i <= high; i++ {
		if field>>i&1 == 1 {
			out = append(out, i)
		}
	}
	return out
}

// counted names numbers of a noun: "minutes 0, 10 and 20 to 30".
func counted(noun string, numbers []int) string {
	if len(numbers) > 1 {
		noun += "s"
	}
	return noun + " " + and(runs(numbers, strconv.Itoa))
}

// runs names numbers in ascending order, three or more that follow each other by the first and the last.
func runs(numbers []int, name func(int) string) (out []string) {
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		if end-i < 2 {
			end = i
			out = append(out, name(numbers[i]))
		} else {
			out = append(out, name(numbers[i])+" to "+name(numbers[end]))
		}
		i = end + 1
	}
	return out
}

func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
