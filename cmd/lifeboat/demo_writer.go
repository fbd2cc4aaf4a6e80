package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/clock"
	"lifeboat/internal/crm"
)

// pace is the pause between two transactions of the demo's writer.
const pace = 2 * time.Millisecond

// order is what the demo asks of its writer, a line of JSON on standard input. Without one the writer goes on writing.
type order struct {
	Work int    `json:"work,omitempty"` // commit so many transactions more, then answer
	SQL  string `json:"sql,omitempty"`  // execute
	// Number is a query in the same transaction: what number it has.
	Number string `json:"number,omitempty"`
}

// answer is a line of JSON on standard output, one for each order.
type answer struct {
	Seq      int64     `json:"seq"`      // the newest transaction
	At       time.Time `json:"at"`       // when the order began to be executed
	Affected int64     `json:"affected"` // rows that SQL changed
	Number   string    `json:"number"`   // of the transaction of SQL
	Contacts contacts  `json:"contacts"` // after the order
}

// contacts says what is in the table contact: how many rows, and the SHA-256 of all of them.
type contacts struct {
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"`
}

func (a *app) demoWriter() *cobra.Command {
	var seed uint64
	c := &cobra.Command{
		Use:    "writer DATABASE",
		Short:  "Be the application that works with the demo's database, until standard input ends",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			open := crm.OpenPostgres
			if !strings.HasPrefix(args[0], "postgres://") {
				open = func(path string) (*sql.DB, error) { return crm.Open(path) }
			}
			db, err := open(args[0])
			if err != nil {
				return err
			}
			w, err := crm.NewWriter(c.Context(), db, rand.New(rand.NewPCG(seed, 1)))
			if err == nil {
				err = (&clerk{db: db, writer: w, now: a.now, out: json.NewEncoder(a.out)}).serve(c.Context(), a.in)
			}
			return errors.Join(err, db.Close())
		},
	}
	c.Flags().Uint64Var(&seed, "seed", 1, "`NUMBER` that decides what is written")
	return c
}

// clerk is the writing process.
type clerk struct {
	db     *sql.DB
	writer *crm.Writer
	now    clock.Clock
	out    *json.Encoder
	seq    int64
}

// serve writes at its pace, and executes orders, until they end.
func (k *clerk) serve(ctx context.Context, in io.Reader) error {
	orders, failed := make(chan order), make(chan error, 1)
	go func() {
		defer close(orders)
		for d := json.NewDecoder(in); ; {
			var o order
			if err := d.Decode(&o); err != nil {
				failed <- err
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case o, more := <-orders:
			if !more {
				if err := <-failed; !errors.Is(err, io.EOF) {
					return fmt.Errorf("read an order: %w", err)
				}
				return nil
			}
			if err := k.obey(ctx, o, tick.C); err != nil {
				return err
			}
		case <-tick.C:
			if err := k.step(ctx); err != nil {
				return err
			}
		}
	}
}

func (k *clerk) step(ctx context.Context) (err error) {
	k.seq, err = k.writer.Step(ctx)
	return err
}

func (k *clerk) obey(ctx context.Context, o order, tick <-chan time.Time) (err error) {
	a := answer{At: k.now()}
	for range o.Work {
		<-tick
		if err := k.step(ctx); err != nil {
			return err
		}
	}
	if o.SQL != "" {
		if err := k.execute(ctx, o, &a); err != nil {
			return fmt.Errorf("execute %q: %w", o.SQL, err)
		}
	}
	if a.Contacts, err = readContacts(ctx, k.db); err != nil {
		return err
	}
	a.Seq = k.seq
	return k.out.Encode(a)
}

// execute runs the SQL of an order in a transaction.
func (k *clerk) execute(ctx context.Context, o order, a *answer) error {
	tx, err := k.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	r, err := tx.ExecContext(ctx, o.SQL)
	if err == nil {
		a.Affected, err = r.RowsAffected()
	}
	if err == nil && o.Number != "" {
		err = tx.QueryRowContext(ctx, o.Number).Scan(&a.Number)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// readContacts reads every contact, in order.
func readContacts(ctx context.Context, db *sql.DB) (c contacts, err error) {
	rows, err := db.QueryContext(ctx, "SELECT id, account_id, first_name, last_name, email, phone, title, created FROM contact ORDER BY id")
	if err != nil {
		return c, fmt.Errorf("read contacts: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	h := sha256.New()
	for rows.Next() {
		var id, account int64
		var text [6]string
		if err := rows.Scan(&id, &account, &text[0], &text[1], &text[2], &text[3], &text[4], &text[5]); err != nil {
			return c, fmt.Errorf("read contacts: %w", err)
		}
		h.Write(fmt.Appendf(nil, "%d %d %q\n", id, account, text))
		c.Rows++
	}
	c.Digest = hex.EncodeToString(h.Sum(nil))
	return c, rows.Err()
}

// office is the writing process as the demo sees it.
type office struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	said    bytes.Buffer // on standard error, complete once the process has ended
}

// openOffice starts this program once more, to write to path. It stops with ctx, and when this process is gone.
func openOffice(ctx context.Context, path string, seed uint64) (*office, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	o := &office{process: exec.CommandContext(ctx, self, "demo", "writer", path, "--seed", fmt.Sprint(seed))}
	o.process.Args[0] = "lifeboat" // what ps shows; and a test binary knows by it that it is the program
	o.process.Cancel = func() error { return o.process.Process.Signal(syscall.SIGTERM) }
	o.process.WaitDelay = 5 * time.Second
	o.process.Stderr = &o.said
	if o.in, err = o.process.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	out, err := o.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	o.out = bufio.NewReader(out)
	if err := o.process.Start(); err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	return o, nil
}

// ask gives an order and waits for the answer.
func (o *office) ask(what order) (a answer, err error) {
	if err := json.NewEncoder(o.in).Encode(what); err != nil {
		return a, fmt.Errorf("order the writer: %w", err)
	}
	line, err := o.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("hear from the writer: %w", err)
	}
	return a, json.Unmarshal(line, &a)
}

// close lets the writer finish its transaction and end.
func (o *office) close() error {
	if err := errors.Join(o.in.Close(), o.process.Wait()); err != nil {
		return fmt.Errorf("end the writer: %w: %s", err, bytes.TrimSpace(o.said.Bytes()))
	}
	return nil
}
