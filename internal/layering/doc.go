// Package layering holds no code but a test: which package of this module may import which, who may use which outside
// dependency, where the process may end, and what no package is called. Changing a rule is a decision about the
// design; doc/architecture.md says why they are what they are.
package layering
