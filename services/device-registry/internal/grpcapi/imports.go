package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/imports"
)

// ParseUID and ParseKey tell an imports.Service what the device protocol wants.
func ParseUID(text string) (device.UID, bool) {
	uid, err := wire.ParseUID(text)
	return device.UID(uid), err == nil && uid.String() == text // one text form each: upper case is another text
}

// ParseKey reports whether a public key is as the device protocol wants it.
func ParseKey(suite device.Suite, key []byte) bool {
	_, err := wire.ParseCredential(wire.Suite(suite), key)
	return err == nil
}

var errHeaderRequired = fault.New(fault.FailedPrecondition, "IMPORT_HEADER_REQUIRED",
	"the first message of an import is its header, and no other is one").WithField("header")

type importStream = interface {
	Context() context.Context
	Recv() (*devicesv1.ImportDevicesRequest, error)
	Send(*devicesv1.ImportDevicesResponse) error
}

// chunksAtOnce is how many chunks are written in one transaction when they arrive faster than they are written.
const chunksAtOnce = 4

// ImportDevices implements the contract. One goroutine receives and judges chunks while this one writes those before, so that a
// few chunks are in memory however long the import is.
func (s *Server) ImportDevices(stream devicesv1.DeviceRegistryService_ImportDevicesServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	header := first.GetHeader()
	if header == nil {
		return errHeaderRequired
	}
	partner, lotNo, err := parseLot(header.GetLot())
	if err != nil {
		return err
	}
	in, err := s.cfg.Imports.Begin(stream.Context(), actorFrom(stream.Context()), imports.Import{
		Partner: partner, ID: header.GetImportId(), LotNo: lotNo, Expected: header.GetExpectedRows(),
		Digest: [32]byte(header.GetDigest()), Mode: imports.Mode(header.GetMode()),
	}, header.GetValidateOnly(), s.now())
	if err != nil {
		return err
	}
	if err := stream.Send(&devicesv1.ImportDevicesResponse{Message: &devicesv1.ImportDevicesResponse_Resume{
		Resume: &devicesv1.ImportResume{LastSequence: in.Import.Last, Rows: in.Import.Rows},
	}}); err != nil {
		return err
	}
	received := make(chan received, chunksAtOnce)
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go s.receiveChunks(ctx, stream, in, received)
	for {
		chunks, end := gather(received)
		acks, err := in.Apply(ctx, chunks, s.now())
		for i, ack := range acks {
			if err := stream.Send(ackMessage(ack, chunks[i])); err != nil {
				return err
			}
		}
		switch {
		case err != nil:
			return err
		case end.err != nil:
			return end.err
		case end.finish:
			return s.finishImport(ctx, stream, in)
		}
	}
}

// gather waits for a chunk and takes those along that have arrived behind it, or tells why none come any more.
func gather(from <-chan received) (chunks []imports.Chunk, end received) {
	r, ok := <-from
	for {
		switch {
		case !ok:
			return chunks, received{err: errBrokenOff}
		case r.err != nil || r.finish:
			return chunks, r
		}
		if chunks = append(chunks, r.chunk); len(chunks) == chunksAtOnce {
			return chunks, received{}
		}
		select {
		case r, ok = <-from:
		default:
			return chunks, received{}
		}
	}
}

var errBrokenOff = fault.New(fault.Canceled, "IMPORT_BROKEN_OFF", "the stream ended without finish; take the import up again")

// received is a chunk, or the client's word that there are no more, or why none come.
type received struct {
	chunk  imports.Chunk
	finish bool
	err    error
}

// receiveChunks hands on what arrives and closes the channel when nothing more can. It ends with the stream, at the latest
// when the handler has returned.
func (s *Server) receiveChunks(ctx context.Context, stream importStream, in *imports.Stream, out chan<- received) {
	defer close(out)
	for {
		var r received
		msg, err := stream.Recv()
		switch m := msg.GetMessage().(type) {
		case *devicesv1.ImportDevicesRequest_Finish:
			r.finish = true
		case *devicesv1.ImportDevicesRequest_Chunk:
			rows, bad := importRows(m.Chunk.GetRows())
			if r.err = bad; bad == nil {
				r.chunk = in.Judge(m.Chunk.GetSequence(), rows, s.now())
			}
		case *devicesv1.ImportDevicesRequest_Header:
			r.err = errHeaderRequired
		default:
			if r.err = err; errors.Is(err, io.EOF) {
				r.err = errBrokenOff
			}
		}
		select {
		case out <- r:
		case <-ctx.Done():
			return
		}
		if r.err != nil || r.finish {
			return
		}
	}
}

func (s *Server) finishImport(ctx context.Context, stream importStream, in *imports.Stream) error {
	done, err := in.Finish(ctx, s.now())
	if err != nil {
		return err
	}
	return stream.Send(&devicesv1.ImportDevicesResponse{Message: &devicesv1.ImportDevicesResponse_Summary{
		Summary: &devicesv1.ImportSummary{Import: importMessage(done), Digest: done.Digest[:]},
	}})
}

// importRows checks what the digest cannot count; see ImportRow in the contract.
func importRows(rows []*devicesv1.ImportRow) ([]imports.Row, error) {
	out := make([]imports.Row, len(rows))
	for i, r := range rows {
		if field := uncountable(r); field != "" {
			return nil, fault.InvalidField(fmt.Sprintf("chunk.rows[%d].%s", i, field), "is too large for the digest")
		}
		out[i] = imports.Row{
			UID: r.GetUid(), Suite: uint8(r.GetSuite()), KeyEpoch: uint16(r.GetKeyEpoch()), Key: r.GetPublicKey(), Labels: r.GetLabels(),
		}
	}
	return out, nil
}

func uncountable(r *devicesv1.ImportRow) string {
	switch {
	case len(r.GetUid()) > math.MaxUint8:
		return "uid"
	case r.GetSuite() < 0 || r.GetSuite() > math.MaxUint8:
		return "suite"
	case r.GetKeyEpoch() > math.MaxUint16:
		return "key_epoch"
	case len(r.GetPublicKey()) > math.MaxUint8:
		return "public_key"
	case len(r.GetLabels()) > math.MaxUint8:
		return "labels"
	}
	for key, value := range r.GetLabels() {
		if len(key) > math.MaxUint8 || len(value) > math.MaxUint8 {
			return "labels"
		}
	}
	return ""
}

func ackMessage(ack imports.Ack, c imports.Chunk) *devicesv1.ImportDevicesResponse {
	out := &devicesv1.ImportAck{Sequence: ack.Sequence, Created: ack.Created, Unchanged: ack.Unchanged}
	texts := map[uint32]string{}
	if len(ack.Failures) > 0 {
		for _, cand := range c.Candidates {
			texts[cand.Row] = UIDText(cand.Device.UID)
		}
	}
	for _, f := range ack.Failures {
		if f.UID == "" {
			f.UID = texts[f.Row]
		}
		out.Failures = append(out.Failures, &devicesv1.RowFailure{Row: f.Row, Uid: f.UID, Reason: f.Reason, Message: f.Message})
	}
	return &devicesv1.ImportDevicesResponse{Message: &devicesv1.ImportDevicesResponse_Ack{Ack: out}}
}

func importMessage(i imports.Import) *devicesv1.Import {
	return &devicesv1.Import{
		Name: "partners/" + i.Partner + "/imports/" + i.ID, Lot: LotName(i.Partner, i.LotNo), State: devicesv1.ImportState(i.State),
		ExpectedRows: i.Expected, LastSequence: i.Last, Rows: i.Rows, Created: i.Created, Unchanged: i.Unchanged, Failed: i.Failed,
		CreateTime: timestamp(i.CreatedAt), UpdateTime: timestamp(i.UpdatedAt), Mode: devicesv1.ImportMode(i.Mode),
	}
}

// GetImport implements the contract.
func (s *Server) GetImport(ctx context.Context, req *devicesv1.GetImportRequest) (*devicesv1.Import, error) {
	partner := partnerOf(req.GetName())
	if !actorFrom(ctx).SeesPartner(partner) {
		return nil, imports.ErrNotFound
	}
	i, err := s.cfg.Catalog.Import(ctx, partner, lastOf(req.GetName()))
	if err != nil {
		return nil, err
	}
	return importMessage(i), nil
}
