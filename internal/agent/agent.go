// Package agent runs a request on the machine it is on: it finds out what the
// machine is, computes the plan, and executes it.
//
//	request.json + secrets.json ──Run──> scan -> plan -> install   (RAM system)
//	a request that a client delivers (package control) ──Run──> the same
//	vic install DIR --disk DISK --Command--> the same, for a person at its shell
//
// The parts are in packages of their own: ramsys is PID 1, install executes
// plans, copytree copies. The agent cannot build anything.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/agent/reinstall"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// Exit codes; see the design.
const (
	exitInternal = 1
	exitUsage    = 2
	exitRefused  = 3
)

// codeError is an error that knows the exit code of the run.
type codeError struct {
	code int
	error
}

func (e codeError) ExitCode() int { return e.code }
func (e codeError) Unwrap() error { return e.error }

func refused(err error) error {
	if err == nil {
		return nil
	}
	return codeError{exitRefused, err}
}

// Run executes the request that was delivered, or that the RAM system was
// started with (a reinstall has a stage document instead), and returns what to do
// afterwards. It is ramsys.Config.Run.
func Run(ctx context.Context, env ramsys.Env) (finish string, err error) {
	if d, ok, err := reinstall.Find(env.StagePath); ok || err != nil {
		return again(ctx, env, d, err)
	}
	req, secrets, err := requested(env)
	if err != nil {
		return "", refused(err)
	}
	env.Sink = hiding(secrets, env.Sink)
	finish, err = run(ctx, env, req, secrets)
	return finish, hide(secrets, err)
}

// run is Run of a request and its secrets.
func run(ctx context.Context, env ramsys.Env, req request.Request, secrets secret.Set) (finish string, err error) {
	env.Sink.Emit(event.Event{Phase: event.Scan, State: event.Start})
	facts, err := envscan.Scan(ctx, envscan.Config{Root: "/", Wake: true, Timeout: plan.ScanPatience})
	if err != nil {
		return "", refused(err)
	}
	phases, err := event.ParsePhases(req.Phases)
	if err != nil {
		return "", refused(err)
	}
	p, err := plan.New(req, facts, secrets.Names())
	if err != nil {
		return "", refused(err)
	}
	p.Warn(env.Sink, event.Scan)
	env.Sink.Emit(event.Event{Phase: event.Scan, State: event.Done, Message: "install " + p.Item + " onto " + p.Disks()})
	cfg := onThisMachine(p, secrets, phases, env.Sink)
	if d := env.Delivery; d != nil {
		cfg.Verified, cfg.Proceed, cfg.Receive, cfg.HostKeys = d.Verified, d.Proceed, d.Receive, handover.KeyDir
	}
	return finishOf(env, p.Finish, phases), execute(ctx, cfg)
}

// finishOf is what the machine does after the run. One whose request was
// delivered stays when there is no new system to start: its client goes on, or
// has it leave.
func finishOf(env ramsys.Env, finish string, phases []event.Phase) string {
	if env.Delivery != nil && !event.Reaches(phases, event.Finish) {
		return request.FinishStay
	}
	return finish
}

func requested(env ramsys.Env) (request.Request, secret.Set, error) {
	if d := env.Delivery; d != nil {
		return d.Request, d.Secrets, nil
	}
	return read(env.RequestPath, env.SecretsPath)
}

// read reads the request and, if there are any, its secrets. The secrets' file
// is removed whatever it holds: from then on they are in this process alone.
func read(requestPath, secretsPath string) (request.Request, secret.Set, error) {
	secrets, secretsErr := takeSecrets(secretsPath)
	f, err := os.Open(requestPath)
	if err != nil {
		return request.Request{}, secret.Set{}, errors.Join(fmt.Errorf("read request: %w", err), secretsErr)
	}
	defer f.Close()
	req, err := request.Decode(f)
	return req, secrets, errors.Join(err, secretsErr)
}

func takeSecrets(path string) (secret.Set, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return secret.Set{}, nil
	}
	if err != nil {
		return secret.Set{}, fmt.Errorf("read secrets: %w", err)
	}
	defer f.Close()
	secrets, err := secret.Decode(f)
	return secrets, errors.Join(err, os.Remove(path))
}

// onThisMachine is a run on the machine that this is.
func onThisMachine(p plan.Plan, secrets secret.Set, phases []event.Phase, sink event.Sink) install.Config {
	programs := tool.Exec{Path: ramsys.Path}
	cfg := install.Config{Plan: p, Secrets: secrets, Phases: phases, Sink: sink, Tools: programs, Machine: install.Host{Programs: programs}, Disks: storage.Host{Tools: programs, Programs: programs}}
	if _, err := os.Stat(efi.EfivarfsPath); err == nil {
		cfg.Variables = efi.Efivarfs(efi.EfivarfsPath)
	}
	return cfg
}

// execute runs a plan.
func execute(ctx context.Context, cfg install.Config) error {
	_, err := install.Run(ctx, cfg)
	var failed *install.Error
	if errors.As(err, &failed) {
		return codeError{failed.Exit, err}
	}
	return err
}
