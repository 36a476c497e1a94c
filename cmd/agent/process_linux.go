package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

func (p *process) look() {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	if f := bytes.Fields(statm); len(f) > 1 {
		pages, err := strconv.ParseInt(string(f[1]), 10, 64)
		p.resident, p.known = pages*int64(os.Getpagesize()), err == nil
	}
	p.cpu = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	p.files = len(files) - 1 // the one that lists them
}
