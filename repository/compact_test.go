package repository

import (
	"fmt"
	"slices"
	"testing"

	"lifeboat/chunkstore"
)

// TestChoose wants the emptiest packs that fit under the limit, those of a class together.
func TestChoose(t *testing.T) {
	pack := func(name string, size, live int64, class chunkstore.Class) halfPack {
		return halfPack{chunkstore.Pack{Digest: name, Size: size}, live, class}
	}
	half := []halfPack{pack("a", 100, 49, chunkstore.Sealed), pack("b", 10, 4, chunkstore.Host), pack("c", 100, 1, chunkstore.Sealed), pack("d", 100, 2, chunkstore.Host), pack("e", 100, 3, chunkstore.Sealed)}
	for limit, want := range map[int64]string{0: "[]", 99: "[]", 100: "[c]", 250: "[c d]", 300: "[c e d]", 310: "[c e d b]", 1000: "[c e a d b]"} {
		got := []string{}
		for _, p := range choose(slices.Clone(half), limit) {
			got = append(got, p.Digest)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("up to %d bytes: %s, want %s", limit, got, want)
		}
	}
}
