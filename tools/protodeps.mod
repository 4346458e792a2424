// Pins the module that carries the schema of the field rules. It has no Go
// packages, so `go mod tidy` would drop it from any ordinary go.mod:
// tools/protodeps.sh reads this file with -modfile instead. Its version goes
// together with the generated package that proto/go.mod requires.
module github.com/armlet-pay/armlet/tools/protodeps

go 1.26.0

require github.com/bufbuild/protovalidate v1.2.2
