// Command lifeboat-verify verifies evidence bundles and reports of restore drills. It is small and on its own, so that an auditor can build it and read
// it: it needs no network, no repository, no configuration and no secret. What is verified is in packages bundle and evidence.
package main

import (
	"os"
	_ "time/tzdata" // schedules have time zones, and the machine of an auditor may lack them
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
