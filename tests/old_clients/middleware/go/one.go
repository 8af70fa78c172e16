package main

import (
	"context"

	pb "old.example/push/exportpb"
)

func push(context context.Context, client pb.ExportServiceClient, rows int, format string) (int, *pb.ExportResponse) {
	stream, err := client.StreamExport(context)
	check(err)
	check(stream.Send(metadata("one", format, rows)))
	batches(rows, stream.Send)
	last, err := stream.CloseAndRecv()
	check(err)
	return 1, last
}
