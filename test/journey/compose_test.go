package journey

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/armlet-pay/armlet/test/programs"
)

// composeFile is docker-compose.yml with the services of all profiles, as `docker compose` reads it, in an environment.
func composeFile(t *testing.T, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{fromRoot("docker-compose.yml")}, cli.WithEnv(env), cli.WithProfiles([]string{"*"}))
	must(t, err)
	p, err := options.LoadProject(t.Context())
	must(t, err)
	return p
}

func fromRoot(parts ...string) string {
	return filepath.Join(append([]string{"..", ".."}, parts...)...)
}

func TestEveryContainerIsLimitedWatchedAndNoRoot(t *testing.T) {
	t.Parallel()
	p := composeFile(t)
	if len(p.Services) < 14 {
		t.Fatalf("only %d services", len(p.Services))
	}
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+\.?\d*(-[a-z0-9.]+)?$`)
	for name, s := range p.Services {
		bad := func(format string, a ...any) { t.Helper(); t.Errorf(name+": "+format, a...) }
		if user, _, _ := strings.Cut(s.User, ":"); user == "" || user == "root" || user == "0" {
			bad("runs as user %q", s.User)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged ||
			!slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.NetworkMode != "" && s.NetworkMode != "none" {
			bad("is not closed")
		}
		if s.Deploy == nil || s.Deploy.Resources.Limits == nil {
			bad("has no limits")
		} else if l := s.Deploy.Resources.Limits; l.NanoCPUs <= 0 || l.MemoryBytes <= 0 || l.Pids <= 0 {
			bad("limits are not whole: %+v", l)
		}
		if s.Build == nil && !pinned.MatchString(s.Image) || s.Build != nil && !strings.HasPrefix(s.Image, "armlet/") {
			bad("has the image %q", s.Image)
		}
		if !healthChecked(t, p, s) {
			bad("nobody asks for its health")
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				bad("port %s is open on %q", port.Published, port.HostIP)
			}
		}
		for key := range s.Environment {
			if regexp.MustCompile(`PASSWORD|SECRET|TOKEN$|SEED`).MatchString(key) && !strings.HasSuffix(key, "_FILE") {
				bad("%s is a secret outside a file", key)
			}
		}
	}
}

// healthChecked: by the file, by the image that is built, or it ends and others wait for that.
func healthChecked(t *testing.T, p *types.Project, s types.ServiceConfig) bool {
	t.Helper()
	if s.HealthCheck != nil && s.HealthCheck.Disable {
		for _, other := range p.Services {
			if other.DependsOn[s.Name].Condition == types.ServiceConditionCompletedSuccessfully {
				return s.Restart == "no"
			}
		}
		return false
	}
	if s.HealthCheck != nil {
		return len(s.HealthCheck.Test) > 1 && s.HealthCheck.Timeout != nil
	}
	return s.Build != nil && regexp.MustCompile(`(?m)^HEALTHCHECK .*CMD \["`).MatchString(dockerfile(t, s))
}

func dockerfile(t *testing.T, s types.ServiceConfig) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Build.Context, s.Build.Dockerfile))
	must(t, err)
	return string(text)
}

func TestContainersStartAfterWhatTheyNeed(t *testing.T) {
	t.Parallel()
	p := composeFile(t)
	var before func(string) []string
	before = func(name string) (all []string) {
		for other := range p.Services[name].DependsOn {
			all = append(append(all, other), before(other)...)
		}
		return all
	}
	for name, want := range map[string]string{
		"device-registry": "secrets certificates postgres databases nats",
		"auth":            "secrets certificates postgres databases nats redis",
		"payments":        "secrets certificates postgres databases nats",
		"notify":          "secrets certificates postgres databases",
		"nats":            "notify", // which writes its configuration
		"postgres":        "secrets",
		"redis":           "secrets",
		"prometheus":      "otel-collector",
		"grafana":         "prometheus jaeger",
	} {
		for _, w := range strings.Fields(want) {
			if !slices.Contains(before(name), w) {
				t.Errorf("%s does not wait for %s", name, w)
			}
		}
	}
	for name, s := range p.Services {
		for other, how := range s.DependsOn {
			want := types.ServiceConditionHealthy
			switch {
			case p.Services[other].Restart == "no":
				want = types.ServiceConditionCompletedSuccessfully
			case name == "nats" && other == "notify":
				want = types.ServiceConditionStarted // it becomes healthy with NATS
			}
			if how.Condition != want || !how.Required {
				t.Errorf("%s waits for %s by %s, want %s", name, other, how.Condition, want)
			}
		}
	}
}

// Every file that a container's configuration names is mounted, every secret among them is delivered to that container and
// to no other, and the services know every variable that they are given.
func TestContainersAreGivenTheFilesThatTheirConfigurationNames(t *testing.T) {
	t.Parallel()
	p := composeFile(t)
	volumes := deliveredVolumes(t, p)
	named := regexp.MustCompile(`/run/secrets/[a-z0-9.-]+`)
	script, err := os.ReadFile(fromRoot("deploy", "postgres", "databases.sh"))
	must(t, err)
	read := map[string]map[string]bool{}
	for name, s := range p.Services {
		text := fmt.Sprint(s.Command, s.Entrypoint, slices.Collect(maps.Values(s.Environment.Resolve(nil).ToMapping())))
		if s.HealthCheck != nil {
			text += fmt.Sprint(s.HealthCheck.Test)
		}
		if name == "databases" {
			for _, service := range []string{"", "device-registry-", "auth-", "payments-", "notify-"} {
				text += " /run/secrets/postgres-" + service + "password"
			}
			if n := strings.Count(string(script), "$secrets/postgres-"); n != 2 {
				t.Fatalf("databases.sh reads other files: %d", n)
			}
		}
		for _, file := range named.FindAllString(text, -1) {
			volume := mounted(s, "/run/secrets")
			if _, err := os.Stat(filepath.Join(volumes[volume], filepath.Base(file))); volume == "" || err != nil {
				t.Errorf("%s: %s is not in its volume %q: %v", name, file, volume, err)
			}
			if read[volume] == nil {
				read[volume] = map[string]bool{}
			}
			read[volume][filepath.Base(file)] = true
		}
		if strings.Contains(s.Image, "armlet/") && s.EnvFiles != nil {
			checkVariables(t, s, volumes[mounted(s, "/run/secrets")])
		}
	}
	for volume, dir := range volumes {
		there, err := os.ReadDir(dir)
		must(t, err)
		for _, file := range there {
			if !read[volume][file.Name()] {
				t.Errorf("nobody who mounts %s reads %s", volume, file.Name())
			}
		}
		for name, s := range p.Services {
			if m := mounted(s, "/run/secrets"); m == volume && !strings.HasPrefix(volume, name+"-") && name != "databases" {
				t.Errorf("%s is given %s", name, volume)
			}
		}
	}
}

// mounted is the source of what a container has at a path.
func mounted(s types.ServiceConfig, target string) string {
	for _, v := range s.Volumes {
		if v.Target == target {
			return v.Source
		}
	}
	return ""
}

// deliveredVolumes runs what the containers secrets and certificates run, and returns the folder of each volume that
// another container mounts as /run/secrets.
func deliveredVolumes(t *testing.T, p *types.Project) map[string]string {
	t.Helper()
	root := t.TempDir()
	for _, once := range []string{"secrets", "certificates"} {
		args := slices.Clone([]string(p.Services[once].Command))
		for i, a := range args {
			args[i] = strings.Replace(a, "/volumes", root, 1)
		}
		if code, out, errs := armlet(t, args...); code != 0 {
			t.Fatalf("%v: exit %d\n%s%s", args, code, out, errs)
		}
	}
	volumes := map[string]string{}
	for _, v := range p.Services["secrets"].Volumes {
		if strings.HasSuffix(v.Source, "-secrets") {
			volumes[v.Source] = filepath.Join(root, strings.TrimPrefix(v.Target, "/volumes/"))
		}
	}
	return volumes
}

// checkVariables has the service itself say where each key comes from.
func checkVariables(t *testing.T, s types.ServiceConfig, secrets string) {
	t.Helper()
	c := exec.Command(programs.Service(t, s.Name), "--print-config")
	for key, value := range s.Environment {
		if strings.HasPrefix(*value, "/") && !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return strings.HasPrefix(*value, v.Target+"/") }) {
			t.Errorf("%s: nothing is mounted for %s=%s", s.Name, key, *value)
		}
		c.Env = append(c.Env, key+"="+strings.Replace(*value, "/run/secrets", secrets, 1))
	}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", s.Name, err, out)
	}
	for key, value := range s.Environment {
		source := " # environment " + key + "\n"
		if strings.HasPrefix(*value, "/run/secrets/") && strings.Contains(string(out), " # file "+strings.Replace(*value, "/run/secrets", secrets, 1)+"\n") {
			continue
		}
		if strings.HasPrefix(key, "ARMLET_") && *value != "" && !strings.Contains(string(out), source) {
			t.Errorf("%s does not know %s", s.Name, key)
		}
	}
}

// Names in addresses are those of containers.
func TestContainersAreCalledByTheirNames(t *testing.T) {
	t.Parallel()
	p := composeFile(t, "COMPOSE_PROFILES=telemetry")
	texts := map[string]string{}
	for name, s := range p.Services {
		for key, value := range s.Environment {
			texts[name+" "+key] = *value
		}
	}
	for _, dir := range deliveredVolumes(t, p) {
		urls, err := filepath.Glob(filepath.Join(dir, "*-url"))
		must(t, err)
		for _, file := range urls {
			text, err := os.ReadFile(file)
			must(t, err)
			texts[filepath.Base(file)] = regexp.MustCompile(`//.*@`).ReplaceAllString(string(text), "//")
		}
	}
	for _, file := range []string{"otel/collector.yaml", "prometheus/prometheus.yml", "grafana/provisioning/datasources/datasources.yaml"} {
		text, err := os.ReadFile(fromRoot("deploy", filepath.FromSlash(file)))
		must(t, err)
		texts[file] = string(text)
	}
	address := regexp.MustCompile(`(?:^|[\s"/,])([a-z][a-z0-9-]*):\d{4,5}\b`)
	found := 0
	for where, text := range texts {
		for _, m := range address.FindAllStringSubmatch(text, -1) {
			found++
			if _, ok := p.Services[m[1]]; !ok {
				t.Errorf("%s: no container is called %s", where, m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d addresses were found", found)
	}
}

func TestTelemetryIsSentWhereItIsTaken(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]string{
		"": "", "COMPOSE_PROFILES=telemetry": "http://otel-collector:4317", "ARMLET_OTLP_ENDPOINT=https://elsewhere:4317": "https://elsewhere:4317",
	} {
		p := composeFile(t, env)
		for _, service := range []string{"device-registry", "auth", "payments", "notify"} {
			got := p.Services[service].Environment["ARMLET_"+strings.ToUpper(strings.ReplaceAll(service, "-", "_"))+"_OTLP_ENDPOINT"]
			if got == nil || *got != want {
				t.Errorf("%s with %q sends to %v, want %q", service, env, got, want)
			}
		}
	}
}

// What is pinned twice is pinned to the same version.
func TestVersionsOfImagesAgree(t *testing.T) {
	t.Parallel()
	p := composeFile(t)
	tools, err := os.ReadFile(fromRoot("tools", "testtools.mod"))
	must(t, err)
	version := regexp.MustCompile(`nats:([0-9.]+)-alpine`).FindStringSubmatch(p.Services["nats"].Image)
	if len(version) != 2 || !strings.Contains(string(tools), "github.com/nats-io/nats-server/v2 v"+version[1]+" ") {
		t.Errorf("the tests run another NATS than %s", p.Services["nats"].Image)
	}
	_, collector, _ := strings.Cut(p.Services["otel-collector"].Image, ":")
	if !strings.Contains(dockerfile(t, p.Services["otel-collector"]), "opentelemetry-collector:"+collector+" ") {
		t.Errorf("the collector's image is not of %s", collector)
	}
	versions := map[string]bool{}
	for _, service := range []string{"device-registry", "auth", "payments", "notify", "secrets"} {
		text := dockerfile(t, p.Services[service])
		versions[regexp.MustCompile(`ARG GO_VERSION=.*`).FindString(text)] = true
		for _, want := range []string{"GOWORK=off CGO_ENABLED=0", "\nFROM gcr.io/distroless/static-debian12:nonroot\n", "org.opencontainers.image.revision"} {
			if !strings.Contains(text, want) {
				t.Errorf("the Dockerfile of %s has no %q", service, want)
			}
		}
	}
	if len(versions) != 1 {
		t.Errorf("the Dockerfiles build with %v", versions)
	}
}
