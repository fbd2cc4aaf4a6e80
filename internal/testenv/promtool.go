package testenv

import "os/exec"

// promtoolProgram is Prometheus' tool that scripts/setup installs.
const promtoolProgram = "/usr/local/lib/lifeboat-test/bin/promtool"

// Promtool runs Prometheus' own tool, which knows rules and queries as the server does, and returns what it says; it has to succeed.
func Promtool(t TB, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), promtoolProgram, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("promtool %q: %v (if it is not there: run scripts/setup)\n%s", args, err, out)
	}
	return string(out)
}
