package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/internal/secretfile"
)

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "What the policies mean, and what they will do", Args: cobra.NoArgs}
	c.AddCommand(a.policyCheck(), a.policyPlan())
	return c
}

// finding is what is wrong with a configuration, or risky, in JSON.
type finding struct {
	Policy string `json:"policy,omitempty"` // empty: it concerns all
	What   string `json:"what"`
	Hint   string `json:"hint"`
}

func (f finding) String() string {
	s := f.What
	if f.Policy != "" {
		s = "policy " + f.Policy + ": " + s
	}
	if f.Hint != "" {
		s += ": " + f.Hint
	}
	return s
}

// policyMeaning is a policy in plain words, in JSON.
type policyMeaning struct {
	Name            string     `json:"name"`
	Means           []string   `json:"means"`
	NextFull        *time.Time `json:"next_full"`
	NextIncremental *time.Time `json:"next_incremental"`
}

type policyReport struct {
	Policies []policyMeaning `json:"policies"`
	Warnings []finding       `json:"warnings"`
	Errors   []finding       `json:"errors"`
}

func (a *app) policyCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what each policy means, and what is wrong or risky in the configuration",
		Long: "Says of each policy in plain words what it means, and warns of what is seldom meant. Nothing is written, and no target is asked. " +
			"Warnings do not change the exit code; a configuration that cannot be used ends with 2.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r := policyReport{Policies: []policyMeaning{}, Warnings: []finding{}, Errors: []finding{}}
			cfg, err := a.config()
			var problems config.Problems
			switch {
			case err == nil:
				r.check(a, cfg)
			case !a.json || !errors.As(err, &problems):
				return err
			}
			for _, p := range problems {
				r.Errors = append(r.Errors, problemFinding(p))
			}
			if err := a.policyReported(r); err != nil {
				return err
			}
			for _, f := range r.Errors {
				err = errors.Join(err, errors.New(f.String()))
			}
			if err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	return a.jsonFlag(c)
}

func problemFinding(p config.Problem) finding {
	hint := p.Hint
	p.Hint = ""
	return finding{What: p.Error(), Hint: hint}
}

func (r *policyReport) check(a *app, cfg *config.Config) {
	now := a.now()
	for _, p := range cfg.Policies {
		r.Policies = append(r.Policies, meaning(cfg, p, now))
	}
	r.Errors = append(r.Errors, secretFiles(cfg)...)
	recipients, err := a.recipients()
	if err != nil {
		r.Errors = append(r.Errors, finding{What: err.Error()})
	}
	r.Warnings = append(r.Warnings, warnings(cfg, recipients, now)...)
}

func (a *app) policyReported(r policyReport) error {
	if a.json {
		return a.printJSON(r)
	}
	for _, p := range r.Policies {
		fmt.Fprintf(a.out, "policy %s\n", p.Name)
		for _, m := range p.Means {
			fmt.Fprintf(a.out, "  - %s\n", m)
		}
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(a.out, "warning: %s\n", w)
	}
	if len(r.Policies) == 0 && len(r.Errors) == 0 {
		fmt.Fprintln(a.out, "no policy is configured: nothing is backed up by itself, and everything is kept for ever")
	}
	return nil
}

// secretFiles lists the files of secrets that cannot be used.
func secretFiles(cfg *config.Config) (out []finding) {
	try := func(where, path, what string) {
		if _, err := secretfile.Read(path, what); err != nil {
			hint := ""
			if absent(err) {
				hint = "make it, with mode 0600, or correct the path"
			}
			out = append(out, finding{What: where + ": " + err.Error(), Hint: hint})
		}
	}
	for _, s := range cfg.Sources {
		try("source "+s.Name, s.PasswordFile, "password file")
	}
	for _, t := range cfg.Targets {
		try("target "+t.Name, cmp.Or(t.SecretKeyFile, t.KeyFile), map[config.TargetType]string{config.S3: "secret_key_file", config.SFTP: "key file"}[t.Type])
	}
	for i, n := range cfg.Notify {
		where := fmt.Sprintf("notify, number %d, by %s", i+1, n.Kind)
		try(where, n.PasswordFile, "password file")
		try(where, n.SecretFile, "secret file")
	}
	return out
}

// exposed are warnings of secrets in the configuration file itself.
func exposed(cfg *config.Config) (out []finding) {
	for _, p := range cfg.Inline {
		out = append(out, problemFinding(p))
	}
	if len(cfg.Inline) == 0 {
		return nil
	}
	file := cfg.Inline[0].File
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
		out = append(out, finding{What: fmt.Sprintf("%s holds a secret and can be read by others (mode %04o)", file, info.Mode().Perm()), Hint: "put the secret into a file of its own, or let nobody but who runs lifeboat read " + file})
	}
	return out
}
