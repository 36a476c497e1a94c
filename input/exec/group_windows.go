package exec

import (
	"fmt"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

// group is a command and what it has started.
type group struct{ job windows.Handle }

// start starts the command in a job, which ends with this process at the latest.
func start(c *exec.Cmd) (*group, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	g := &group{job}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		g.close()
		return nil, err
	}
	// What it starts before it is in the job is not; nothing better can be had
	// without starting it suspended.
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(c.Process.Pid))
	if err == nil {
		err = windows.AssignProcessToJobObject(job, p)
		windows.CloseHandle(p)
	}
	if err != nil {
		c.Process.Kill()
		c.Wait()
		g.close()
		return nil, fmt.Errorf("job: %w", err)
	}
	return g, nil
}

// terminate ends the command: there is no way to ask.
func (g *group) terminate() { g.kill() }

// kill ends all of the job.
func (g *group) kill() { windows.TerminateJobObject(g.job, 1) }

func (g *group) close() { windows.CloseHandle(g.job) }
