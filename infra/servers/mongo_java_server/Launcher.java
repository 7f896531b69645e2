import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.bson.BsonDecoder;
import de.bwaldvogel.mongo.wire.bson.BsonEncoder;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Set;
import org.h2.mvstore.MVMap;
import org.h2.mvstore.MVStore;
import org.h2.mvstore.WriteBuffer;
import org.h2.mvstore.type.BasicDataType;

/**
 * mongo-java-server as this project needs it: `java Launcher FILE PORT`, on loopback.
 *
 * <p>One thread serves every connection: the server changes documents in place, and a reply that one thread encodes
 * while another changes its document would be torn. With one thread each command is atomic, its reply included.
 */
public final class Launcher {

    /** pymongo 4 wants wire version 9 or more; the server's own highest is 8. */
    private static final MongoVersion VERSION = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    };

    private static final int CACHE_MB = 640;

    public static void main(String[] args) {
        MVStore store = new MVStore.Builder().fileName(args[0]).autoCommitDisabled().cacheSize(CACHE_MB).open();
        MongoBackend backend = new JournaledBackend(store).version(VERSION);
        MongoServer server = new MongoServer(backend);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        server.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[1])), 1, 1);
    }

    /** Commits each write before it is answered, as `j: true` asks: nothing that was acknowledged is lost by SIGKILL. */
    private static final class JournaledBackend extends H2Backend {
        private static final Set<String> WRITES =
            Set.of("insert", "update", "delete", "findAndModify", "createIndexes", "dropDatabase", "drop");
        private static final int COMPACT_EVERY = 1000;
        private static final int COMPACT_BELOW_PERCENT = 50;
        private static final int COMPACT_BYTES = 4 << 20;

        private int commits;

        JournaledBackend(MVStore store) {
            super(store);
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            Document reply = super.handleMessage(message);
            if (WRITES.contains(message.getDocument().keySet().iterator().next())) {
                commit();
                if (++commits % COMPACT_EVERY == 0) {
                    getMvStore().compact(COMPACT_BELOW_PERCENT, COMPACT_BYTES);
                }
            }
            return reply;
        }

        @Override
        protected MongoDatabase openOrCreateDatabase(String name) {
            MVStore store = getMvStore();
            return new H2Database(name, store, getCursorRegistry()) {
                @Override
                protected MongoCollection<Object> openOrCreateCollection(String collection, CollectionOptions options) {
                    String fullName = name + "." + collection;
                    MVMap<Object, Document> data = store.openMap("databases." + fullName,
                        new MVMap.Builder<Object, Document>().valueType(new BsonType()));
                    MVMap<String, Object> meta = store.openMap("meta." + fullName);
                    return new IdFirstCollection(this, collection, options, data, meta);
                }
            };
        }

        /** Looks a document up by `_id` also where the filter names more fields; the server itself would scan. */
        private final class IdFirstCollection extends H2Collection {
            IdFirstCollection(MongoDatabase database, String name, CollectionOptions options,
                              MVMap<Object, Document> data, MVMap<String, Object> meta) {
                super(database, name, options, data, meta, getCursorRegistry());
            }

            @Override
            protected QueryResult queryDocuments(Document query, Document orderBy, int skip, int limit, int batchSize,
                                                 Document fields) {
                if (query.size() > 1 && query.get("_id") instanceof String) {
                    Object id = query.get("_id");
                    List<Object> positions = getDocument(id) == null ? List.of() : List.of(id);
                    return matchDocuments(query, positions, orderBy, skip, limit, batchSize, fields);
                }
                return super.queryDocuments(query, orderBy, skip, limit, batchSize, fields);
            }
        }
    }

    /** Documents as BSON in the file: a tenth of the time and a third of the size of Java's own serialization. */
    private static final class BsonType extends BasicDataType<Document> {
        private static final int ABOUT_BYTES_IN_MEMORY = 6000;

        @Override
        public int getMemory(Document document) {
            return ABOUT_BYTES_IN_MEMORY;
        }

        @Override
        public void write(WriteBuffer out, Document document) {
            ByteBuf bson = Unpooled.buffer(1024);
            BsonEncoder.encodeDocument(document, bson);
            out.put(bson.nioBuffer());
        }

        @Override
        public Document read(ByteBuffer in) {
            ByteBuf bson = Unpooled.wrappedBuffer(in);
            Document document = BsonDecoder.decodeBson(bson);
            in.position(in.position() + bson.readerIndex());
            return document;
        }

        @Override
        public Document[] createStorage(int size) {
            return new Document[size];
        }
    }
}
