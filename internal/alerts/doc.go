// Package alerts holds install/prometheus/fieldpost-alerts.yml: its tests have promtool
// check the rules and play faults against them, and see that each rule speaks of
// metrics that there are and points to a part of the runbook that there is. It has no
// code.
package alerts
