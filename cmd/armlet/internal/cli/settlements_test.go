package cli

import (
	"bytes"
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// reporter sends a report in pieces, and one that breaks off.
type reporter struct {
	paymentsv1.UnimplementedPaymentsServiceServer
}

func (reporter) ExportSettlementReport(in *paymentsv1.ExportSettlementReportRequest, out grpc.ServerStreamingServer[paymentsv1.ExportSettlementReportResponse]) error {
	for _, piece := range []string{"line,amount\r\n", "CAPTURE,100\r\n", "TOTAL,100\r\n"} {
		if err := out.Send(&paymentsv1.ExportSettlementReportResponse{Csv: []byte(piece)}); err != nil {
			return err
		}
		if in.GetName() == "settlements/broken" {
			return status.Error(codes.Unavailable, "gone")
		}
	}
	return nil
}

func TestAReportIsWrittenWholeOrFails(t *testing.T) {
	lis := bufconn.Listen(1 << 16)
	srv := grpc.NewServer()
	paymentsv1.RegisterPaymentsServiceServer(srv, reporter{})
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)
	conn, err := grpc.NewClient("passthrough:///reporter", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := paymentsv1.NewPaymentsServiceClient(conn)
	var out bytes.Buffer
	if err := report(t.Context(), client, "settlements/whole", &out); err != nil || out.String() != "line,amount\r\nCAPTURE,100\r\nTOTAL,100\r\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if err := report(t.Context(), client, "settlements/broken", &out); status.Code(err) != codes.Unavailable {
		t.Errorf("a report that breaks off: %v", err)
	}
}
