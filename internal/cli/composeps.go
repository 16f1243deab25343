package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/regctl-setup/regctl-setup/internal/deployment"
	"github.com/regctl-setup/regctl-setup/internal/doctor"
)

// engineError says why the Docker engine can't be asked; nil when it can. doctor.EngineHint says
// what helps.
func engineError(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return doctor.ErrNoDocker
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput()
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("the Docker engine does not answer in time")
	case err != nil:
		return fmt.Errorf("no Docker engine answers: %s", firstLine(string(out)))
	}
	return nil
}

// service is what the engine tells of one container of the project.
type service struct {
	Name   string `json:"name"`
	State  string `json:"state"`            // running, exited, restarting, …; "absent" where there is no container
	Health string `json:"health,omitempty"` // healthy, unhealthy, starting; "" where it has no check
	Image  string `json:"image,omitempty"`
	Status string `json:"status,omitempty"` // in the engine's words, such as "Up 3 hours (healthy)"
}

// ok reports whether the service does what it is there for.
func (s service) ok() bool { return s.State == "running" && (s.Health == "" || s.Health == "healthy") }

// containersLeft says, in place of an empty log, that there is no container of the deployment.
func (a *app) containersLeft(ctx context.Context, d *deployment.Deployment) error {
	list, err := composeServices(ctx, d)
	if err != nil {
		return fail(err)
	}
	for _, s := range list {
		if s.State != "absent" {
			return nil
		}
	}
	return fail(errors.New("no container of this deployment is there, and so no log"), fmt.Sprintf("regctl-setup %sup   makes and starts them", a.dirArg()))
}

// composeServices lists the services of the compose file, with what runs of them.
func composeServices(ctx context.Context, d *deployment.Deployment) ([]service, error) {
	project, err := d.Project(ctx)
	if err != nil {
		return nil, err
	}
	var errOut bytes.Buffer
	cmd := compose(ctx, d, "ps", "--all", "--format", "json")
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("docker compose ps: %w: %s", err, lastLine(errOut.String()))
	}
	running, err := parsePS(out)
	if err != nil {
		return nil, fmt.Errorf("docker compose ps: %w", err)
	}
	var all []service
	for _, name := range project.ServiceNames() {
		s := service{Name: name, State: "absent"}
		if i := slices.IndexFunc(running, func(r service) bool { return r.Name == name }); i >= 0 {
			s = running[i]
		}
		all = append(all, s)
	}
	return all, nil
}

// parsePS reads the output of docker compose ps: an array in versions before 2.21, and
// one object a line since.
func parsePS(out []byte) ([]service, error) {
	type container struct {
		Service string `json:"Service"`
		State   string `json:"State"`
		Health  string `json:"Health"`
		Image   string `json:"Image"`
		Status  string `json:"Status"`
	}
	var list []container
	if trimmed := bytes.TrimSpace(out); bytes.HasPrefix(trimmed, []byte("[")) {
		if err := json.Unmarshal(trimmed, &list); err != nil {
			return nil, err
		}
	} else {
		dec := json.NewDecoder(bytes.NewReader(trimmed))
		for dec.More() {
			var c container
			if err := dec.Decode(&c); err != nil {
				return nil, err
			}
			list = append(list, c)
		}
	}
	all := make([]service, 0, len(list))
	for _, c := range list {
		all = append(all, service{Name: c.Service, State: strings.ToLower(c.State), Health: c.Health, Image: c.Image, Status: c.Status})
	}
	return all, nil
}
