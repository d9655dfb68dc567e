import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/**
 * A server that speaks MongoDB's wire protocol, for tests. Arguments: a port, and a file of H2 (none: in memory).
 *
 * As shipped the library says wire version 8, and PyMongo takes 9 (MongoDB 4.4) or more; what the hub uses of later
 * versions is answered all the same, so this one says 13 (MongoDB 5.0).
 */
public class MongoWire {
    static final MongoVersion VERSION = new MongoVersion() {
        public List<Integer> getVersionArray() { return List.of(5, 0, 0, 0); }

        public int getWireVersion() { return 13; }
    };

    public static void main(String[] given) throws Exception {
        MongoBackend backend = given.length > 1 ? new H2Backend(given[1]) : new MemoryBackend();
        MongoServer server = new MongoServer(backend.version(VERSION));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        server.bind("127.0.0.1", Integer.parseInt(given[0]));
        System.out.println("ready");
        System.in.read(); // whoever started it holds this pipe: when that process ends, so does the server
        System.exit(0);
    }
}
