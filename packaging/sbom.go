package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
)

const unsaid = "NOASSERTION"

// writeSBOM writes what a binary consists of, as SPDX 2.3: each module with its version, checksum and licence.
func (b *built) writeSBOM(path string, parts []component) error {
	digest := hex.EncodeToString(sum(b.binary))
	self := b.pkg(b.program, b.version, "Apache-2.0")
	self.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: digest}}
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      fmt.Sprintf("%s-%s-%s-%s", b.program, b.version, b.os, b.arch),
		DocumentNamespace: "https://spdx.org/spdxdocs/" + b.program + "-" + digest,
		CreationInfo: &spdx.CreationInfo{
			Created:  b.commit.UTC().Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "lifeboat-packaging-" + b.version}},
		},
		Packages:      []*spdx.Package{self},
		Relationships: []*spdx.Relationship{related("DOCUMENT", common.TypeRelationshipDescribe, string(self.PackageSPDXIdentifier))},
	}
	for _, c := range parts {
		p := b.pkg(c.path, c.version, c.licence)
		p.PackageExternalReferences = []*spdx.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: c.purl()}}
		if c.sum != "" {
			value, err := checksum(c.sum)
			if err != nil {
				return fmt.Errorf("read the checksum of %s: %w", c.path, err)
			}
			p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: value}}
			p.PackageComment = "The checksum is that of go.sum, in hexadecimal: the hash of the list of the module's files and their hashes."
		}
		doc.Packages = append(doc.Packages, p)
		doc.Relationships = append(doc.Relationships, related(string(self.PackageSPDXIdentifier), common.TypeRelationshipDependsOn, string(p.PackageSPDXIdentifier)))
	}
	var text bytes.Buffer
	if err := json.Write(doc, &text, json.Indent("  ")); err != nil {
		return fmt.Errorf("write the bill of materials: %w", err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the bill of materials: %w", err)
	}
	return nil
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func (b *built) pkg(name, version, licence string) *spdx.Package {
	return &spdx.Package{
		PackageName: name, PackageVersion: version,
		PackageSPDXIdentifier:   common.ElementID("Package-" + notInID.ReplaceAllString(name, "-")),
		PackageDownloadLocation: unsaid, PackageCopyrightText: unsaid,
		PackageLicenseDeclared: licence, PackageLicenseConcluded: licence,
	}
}

func related(a, how, b string) *spdx.Relationship {
	return &spdx.Relationship{RefA: common.MakeDocElementID("", a), RefB: common.MakeDocElementID("", b), Relationship: how}
}

// purl is the name by which databases of vulnerabilities know it.
func (c component) purl() string {
	if c.path == "stdlib" {
		return "pkg:golang/stdlib@" + strings.TrimPrefix(c.version, "go")
	}
	return "pkg:golang/" + c.path + "@" + url.QueryEscape(c.version)
}

// checksum is the hash of a module as go.sum has it, "h1:" and base64, in hexadecimal.
func checksum(h1 string) (string, error) {
	encoded, ok := strings.CutPrefix(h1, "h1:")
	if !ok {
		return "", errors.New(h1 + " is not of the kind h1")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(raw), nil
}

func sum(data []byte) []byte {
	h := sha256.Sum256(data)
	return h[:]
}
