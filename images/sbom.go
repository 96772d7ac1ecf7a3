package images

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// The members of an SPDX 2.3 document that we write, in its JSON form.
type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID               string         `json:"SPDXID"`
	Name             string         `json:"name"`
	Version          string         `json:"versionInfo,omitempty"`
	Download         string         `json:"downloadLocation"`
	FilesAnalyzed    bool           `json:"filesAnalyzed"`
	LicenseConcluded string         `json:"licenseConcluded"`
	LicenseDeclared  string         `json:"licenseDeclared"`
	Copyright        string         `json:"copyrightText"`
	Comment          string         `json:"comment,omitempty"`
	Checksums        []spdxChecksum `json:"checksums,omitempty"`
	References       []spdxRef      `json:"externalRefs,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const documentID = "SPDXRef-DOCUMENT"

// sbom lists the program and its parts.
func (s Spec) sbom(info *buildinfo.BuildInfo, parts []part) ([]byte, error) {
	program, err := os.ReadFile(s.Binary)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(program)
	digest := hex.EncodeToString(sum[:])
	repository, version, _ := strings.Cut(s.Reference, ":")
	name := fmt.Sprintf("%s-%s-%s-%s", strings.ReplaceAll(repository, "/", "-"), version, setting(info, "GOOS"), setting(info, "GOARCH"))
	main := spdxPackage{
		ID: "SPDXRef-program", Name: filepath.Base(s.Binary), Version: version,
		Download: unknownTerms, LicenseConcluded: "Apache-2.0", LicenseDeclared: "Apache-2.0", Copyright: unknownTerms,
		Checksums: []spdxChecksum{{"SHA256", digest}},
	}
	document := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: documentID, Name: name,
		// Unique, as the specification asks (6.5): another program has another sum.
		Namespace:     "https://spdx.org/spdxdocs/" + url.PathEscape(name) + "-" + digest,
		Creation:      spdxCreation{s.Created.Format(time.RFC3339), []string{"Tool: azwi-images"}},
		Packages:      []spdxPackage{main},
		Relationships: []spdxRelationship{{documentID, "DESCRIBES", main.ID}},
	}
	for _, p := range parts {
		id := "SPDXRef-" + regexp.MustCompile(`[^A-Za-z0-9.-]+`).ReplaceAllString(p.Path, "-")
		terms := p.terms()
		described := spdxPackage{
			ID: id, Name: p.Path, Version: p.Version,
			Download: unknownTerms, LicenseConcluded: terms, LicenseDeclared: terms, Copyright: unknownTerms,
			References: []spdxRef{{"PACKAGE-MANAGER", "purl", purl(p)}},
		}
		relation := "STATIC_LINK"
		if p.Path == rootsPath {
			relation = "DEPENDS_ON" // data, beside the program
		}
		if p.Sum != "" {
			described.Comment = "go.sum: " + p.Sum
		}
		document.Packages = append(document.Packages, described)
		document.Relationships = append(document.Relationships, spdxRelationship{main.ID, relation, id})
	}
	out, err := json.MarshalIndent(document, "", "  ")
	return append(out, '\n'), err
}

// purl is the part's package URL, by which scanners know it.
func purl(p part) string {
	if p.Path == goModule {
		return "pkg:golang/stdlib@" + strings.TrimPrefix(p.Version, "go")
	}
	return "pkg:golang/" + p.Path + "@" + url.PathEscape(p.Version)
}
