package main

import (
	"archive/zip"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// writeZip makes a zip of files of a folder. It has no times, so that the same files
// make the same zip.
func writeZip(path, dir string, files []string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	z := zip.NewWriter(out)
	for _, name := range files {
		if err = add(z, filepath.Join(dir, name), name); err != nil {
			break
		}
	}
	if err = errors.Join(err, z.Close(), out.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

func add(z *zip.Writer, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err == nil {
		_, err = io.Copy(w, f)
	}
	return err
}
