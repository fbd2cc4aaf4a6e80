package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
)

// row is one line of the table.
type row struct {
	tool, what string
	wall, cpu  time.Duration
	ratio      float64 // of the wall time to that of the first tool beside it
	peak       int64   // bytes of memory
	grown      int64   // bytes of repository
	note       string
}

// median is the row of the median time, with the median of the ratios.
func median(rows []row) row {
	slices.SortFunc(rows, func(x, y row) int { return int(1000*x.ratio - 1000*y.ratio) })
	ratio := rows[len(rows)/2].ratio
	slices.SortFunc(rows, func(x, y row) int { return int(x.wall - y.wall) })
	rows[len(rows)/2].ratio = ratio
	return rows[len(rows)/2]
}

func (b *bench) print() error {
	total, err := b.db.size()
	if err != nil {
		return err
	}
	fmt.Printf("%s, database of %s, %d runs of all tools in turn, median; x is the time to that of the first of them\n\n", b.db.name, humanize.IBytes(uint64(total)), b.runs)
	fmt.Println("| tool | what | seconds | x | MB/s of database | processor seconds | peak memory | repository grew by | |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, r := range b.rows {
		if r.wall == 0 {
			fmt.Printf("| %s | %s | | | | | | | |\n", r.tool, r.what)
			continue
		}
		ratio, rate := "", ""
		if r.ratio > 0 {
			ratio, rate = fmt.Sprintf("%.2f", r.ratio), fmt.Sprintf("%.0f", float64(total)/1e6/r.wall.Seconds())
		}
		fmt.Printf("| %s | %s | %.2f | %s | %s | %.2f | %s | %s | %s |\n", r.tool, r.what, r.wall.Seconds(), ratio, rate,
			r.cpu.Seconds(), humanize.IBytes(uint64(r.peak)), humanize.IBytes(uint64(max(r.grown, 0))), r.note)
	}
	return nil
}
