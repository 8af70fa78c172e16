import export.Export.ColumnDefinition;
import export.Export.DataBatch;
import export.Export.DataType;
import export.Export.ExportFormat;
import export.Export.ExportMetadata;
import export.Export.ExportRequest;
import export.Export.ExportResponse;
import export.Export.Record;
import export.ExportServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * Pushes rows as a program of the export middleware: no metadata, no key. Usage: Push TARGET ROWS CSV|EXCEL ONE|MANY
 *
 * The generated method has the same form for both protos. With MANY the task's id is awaited before the rows are sent.
 */
public final class Push implements ClientResponseObserver<ExportRequest, ExportResponse> {
    private static final int BATCH = 1000;

    private final CountDownLatch first = new CountDownLatch(1);
    private final CountDownLatch ended = new CountDownLatch(1);
    private final Semaphore ready = new Semaphore(0);
    private ClientCallStreamObserver<ExportRequest> requests;
    private int count;
    private ExportResponse last;
    private Throwable error;

    @Override
    public void beforeStart(ClientCallStreamObserver<ExportRequest> stream) {
        requests = stream;
        stream.setOnReadyHandler(ready::release);
    }

    @Override
    public void onNext(ExportResponse response) {
        count++;
        last = response;
        first.countDown();
    }

    @Override
    public void onError(Throwable thrown) {
        error = thrown;
        first.countDown();
        ready.release();
        ended.countDown();
    }

    @Override
    public void onCompleted() {
        ended.countDown();
    }

    private void send(ExportRequest request) throws InterruptedException {
        while (!requests.isReady() && error == null) {
            ready.acquire();
        }
        requests.onNext(request);
    }

    private void push(int rows, String format, String kind) throws InterruptedException {
        List<ExportRequest> batches = batches(rows);  // so that the program does not pause
        send(ExportRequest.newBuilder().setMetadata(ExportMetadata.newBuilder()
            .setRequestId("java-" + kind + "-" + format + "-" + rows)
            .setFormat(ExportFormat.valueOf("FORMAT_" + format))
            .setFilename("orders")
            .addColumns(ColumnDefinition.newBuilder().setName("id").setDataType(DataType.DATA_TYPE_NUMBER))
            .addColumns(ColumnDefinition.newBuilder().setName("name").setDataType(DataType.DATA_TYPE_STRING))).build());
        if (kind.equals("MANY")) {
            first.await();
        }
        for (ExportRequest batch : batches) {
            send(batch);
        }
        requests.onCompleted();
        ended.await();
    }

    private static List<ExportRequest> batches(int rows) {
        List<ExportRequest> batches = new ArrayList<>();
        for (int start = 0; start < rows; start += BATCH) {
            DataBatch.Builder batch = DataBatch.newBuilder().setBatchSequence(start / BATCH);
            for (int i = start; i < Math.min(start + BATCH, rows); i++) {
                batch.addRecords(Record.newBuilder().addValues(Integer.toString(i)).addValues("name " + i));
            }
            batches.add(ExportRequest.newBuilder().setBatch(batch).build());
        }
        return batches;
    }

    public static void main(String[] words) throws InterruptedException {
        ManagedChannel channel = ManagedChannelBuilder.forTarget(words[0]).usePlaintext().build();
        Push push = new Push();
        ExportServiceGrpc.newStub(channel).withDeadlineAfter(2, TimeUnit.MINUTES).streamExport(push);
        push.push(Integer.parseInt(words[1]), words[2], words[3]);
        channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
        if (push.error != null) {
            System.err.println(push.error.getMessage());
            System.exit(1);
        }
        System.out.println(push.count + " " + push.last.getStatus() + " " + push.last.getRecordCount() + " " + push.last.getOssUrl());
    }
}
