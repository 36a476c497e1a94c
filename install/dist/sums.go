package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

const sumsName = "SHA256SUMS"

// writeSums writes the sums of all files in a folder, as sha256sum -c takes them.
func writeSums(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, e := range list {
		if e.IsDir() || e.Name() == sumsName {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), e.Name())
	}
	if b.Len() == 0 {
		return fmt.Errorf("nothing is in %s", dir)
	}
	return os.WriteFile(filepath.Join(dir, sumsName), b.Bytes(), 0o644)
}
