//go:build !linux && !windows

package service

import "context"

func look(_ context.Context, d Daemon) (Details, error) { return general(d) }
