//! Files, and streams in memory.

use std::io::{self, SeekFrom};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, BufWriter};

use crate::run;

pub fn files() -> io::Result<()> {
    run(async {
        let directory = std::env::temp_dir().join("runtime-files");
        let _ = fs::remove_dir_all(&directory).await;
        fs::create_dir_all(directory.join("inner")).await?;
        let mut writes = tokio::task::JoinSet::new();
        for number in 0..20 {
            let path = directory.join(format!("{number:02}"));
            writes.spawn(async move { fs::write(path, vec![number; 5_000]).await });
        }
        for result in writes.join_all().await {
            result?;
        }
        let mut names = Vec::new();
        let mut entries = fs::read_dir(&directory).await?;
        while let Some(entry) = entries.next_entry().await? {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        assert_eq!(names.len(), 21);
        assert_eq!((names[0].as_str(), names[20].as_str()), ("00", "inner"));
        assert_eq!(fs::read(directory.join("07")).await?, vec![7; 5_000]);
        fs::rename(directory.join("07"), directory.join("inner/seven")).await?;
        assert!(!fs::try_exists(directory.join("07")).await?);
        assert_eq!(fs::metadata(directory.join("inner/seven")).await?.len(), 5_000);
        let missing = fs::read(directory.join("missing")).await;
        assert!(missing.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        fs::remove_dir_all(&directory).await
    })
}

pub fn lines() -> io::Result<()> {
    run(async {
        let path = std::env::temp_dir().join("runtime-lines");
        let mut writer = BufWriter::new(File::create(&path).await?);
        for number in 0..1_000 {
            writer.write_all(format!("line {number}\n").as_bytes()).await?;
        }
        writer.flush().await?;
        writer.into_inner().sync_all().await?;
        let mut lines = BufReader::new(File::open(&path).await?).lines();
        let mut count = 0;
        while let Some(line) = lines.next_line().await? {
            assert_eq!(line, format!("line {count}"));
            count += 1;
        }
        assert_eq!(count, 1_000);
        let mut file = OpenOptions::new().read(true).write(true).open(&path).await?;
        file.seek(SeekFrom::Start(5)).await?;
        file.write_all(b"X").await?;
        file.flush().await?;
        file.rewind().await?;
        let mut start = [0; 7];
        file.read_exact(&mut start).await?;
        assert_eq!(&start, b"line X\n");
        file.set_len(7).await?;
        assert_eq!(file.metadata().await?.len(), 7);
        fs::remove_file(&path).await
    })
}

pub fn memory() -> io::Result<()> {
    run(async {
        let (mut near, mut far) = tokio::io::duplex(64);
        let echo = tokio::spawn(async move {
            let mut buffer = [0; 48];
            loop {
                let count = far.read(&mut buffer).await?;
                if count == 0 {
                    return far.shutdown().await;
                }
                far.write_all(&buffer[..count]).await?;
            }
        });
        let data: Vec<u8> = (0..10_000_u32).map(|number| number as u8).collect();
        let expected = data.clone();
        let (mut reader, mut writer) = tokio::io::split(&mut near);
        let write = async {
            writer.write_all(&data).await?;
            writer.shutdown().await
        };
        let mut back = Vec::new();
        let (written, read) = tokio::join!(write, reader.read_to_end(&mut back));
        written?;
        assert_eq!(read?, 10_000);
        assert_eq!(back, expected);
        echo.await?
    })
}
